// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing
import VsocProtocol

@Suite struct ShmSignalTests {
  /// The triple of an end as a peer sees it in the memory.
  private func triple(_ region: TestRegion, _ end: End) -> [UInt8] {
    let irq = Int(region.geometry.shmSignalOffset) + 8 + 3 * Int(end.rawValue)
    return region.bytes(irq..<irq + 3)
  }

  @Test func `Both ends start enabled with nothing due`() throws {
    let signal = try TestRegion().signal
    for end in End.allCases {
      #expect(signal.isEnabled(end))
      #expect(!signal.isPending(end) && !signal.isDirty(end) && !signal.isDue(end))
      #expect(signal.acknowledge(end) == 0)
    }
  }

  @Test(arguments: End.allCases)
  func `An injection is notified once and suppressed until acknowledged`(end: End) throws {
    let region = try TestRegion()
    let signal = region.signal
    #expect(signal.inject(to: end))
    #expect(triple(region, end) == [1, 1, 1])
    #expect(triple(region, end.peer) == [1, 0, 0])
    #expect(signal.isDue(end) && !signal.isDue(end.peer))
    #expect(!signal.inject(to: end))
    #expect(!signal.inject(to: end))
    #expect(signal.acknowledge(end) == 1)
    #expect(triple(region, end) == [1, 0, 0])
    #expect(signal.acknowledge(end) == 0)
    #expect(signal.inject(to: end))
  }

  @Test func `A masked end is not notified, and due as soon as it is enabled`() throws {
    let region = try TestRegion()
    let signal = region.signal
    signal.disable(.host)
    #expect(!signal.isEnabled(.host))
    #expect(!signal.inject(to: .host))
    #expect(triple(region, .host) == [0, 0, 1])
    #expect(!signal.isDue(.host))
    #expect(signal.acknowledge(.host) == 0)
    #expect(signal.isDirty(.host))
    #expect(signal.enable(.host))
    #expect(signal.isDue(.host))
    #expect(signal.acknowledge(.host) == 1)
    #expect(!signal.enable(.host))
  }

  @Test func `Masking does not forget what was pending`() throws {
    let signal = try TestRegion().signal
    #expect(signal.inject(to: .guest))
    signal.disable(.guest)
    #expect(!signal.isDue(.guest))
    #expect(signal.acknowledge(.guest) == 0)
    #expect(signal.enable(.guest))
    #expect(signal.acknowledge(.guest) == 1)
  }

  @Test func `Enabling an end with nothing to deliver does not ask for a notification`() throws {
    let signal = try TestRegion().signal
    #expect(!signal.enable(.host))
    signal.disable(.host)
    #expect(!signal.enable(.host))
  }

  @Test func `Pending alone is a notification too`() throws {
    let region = try TestRegion()
    poke(region, [1, 1, 0])
    #expect(region.signal.isDue(.guest))
    #expect(region.signal.acknowledge(.guest) == 1)
    #expect(triple(region, .guest) == [1, 0, 0])
    poke(region, [0, 1, 0])
    #expect(!region.signal.isDue(.guest))
    #expect(region.signal.enable(.guest))
  }

  @Test func `Dirty alone is due at an enabled end`() throws {
    let region = try TestRegion()
    poke(region, [1, 0, 1])
    #expect(region.signal.isDue(.guest))
    #expect(region.signal.acknowledge(.guest) == 1)
    #expect(triple(region, .guest) == [1, 0, 0])
  }

  @Test func `Any value but 0 counts as set`() throws {
    let region = try TestRegion()
    poke(region, [0x80, 0xff, 0x7f])
    let signal = region.signal
    #expect(signal.isEnabled(.guest) && signal.isPending(.guest) && signal.isDirty(.guest))
    #expect(!signal.inject(to: .guest))
    #expect(signal.acknowledge(.guest) == 1)
  }

  @Test func `An acknowledgement ends after its limit and leaves the end due`() throws {
    let region = try TestRegion()
    let signal = region.signal
    #expect(signal.inject(to: .host))
    #expect(signal.acknowledge(.host, limit: 0) == 0)
    #expect(triple(region, .host) == [1, 1, 1])
    #expect(signal.acknowledge(.host, limit: 1) == 1)
    #expect(!signal.isDue(.host))
  }

  @Test func `The magic and the version are not read`() throws {
    let region = try TestRegion()
    let base = Int(region.geometry.shmSignalOffset)
    for index in 0..<8 {
      unsafe (region.window.base + base).storeBytes(
        of: 0xff, toByteOffset: index, as: UInt8.self)
    }
    #expect(region.signal.inject(to: .host))
    #expect(region.signal.acknowledge(.host) == 1)
  }

  private func poke(_ region: TestRegion, _ triple: [UInt8]) {
    let irq = Int(region.geometry.shmSignalOffset) + 8
    for (index, byte) in triple.enumerated() {
      unsafe region.window.base.storeBytes(of: byte, toByteOffset: irq + index, as: UInt8.self)
    }
  }
}
