// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import Synchronization
import TestSupport
import Testing
import VsocProtocol

extension Races {
  /// A peer writes random bytes all over the region as fast as it can. Every operation must end
  /// after a bounded amount of work and touch nothing outside, where pages are that crash the test.
  @Suite struct HostilePeerTests {
    /// Overwrites the window until told to stop: whole words, single bytes, and above all the words
    /// and triples that the protocols look at.
    private func scribble(
      _ region: TestRegion, seed: UInt64, while running: () -> Bool
    ) {
      var random = seed
      let geometry = region.geometry
      let hot = [
        geometry.guestToHost.wordOffset, geometry.hostToGuest.wordOffset,
        geometry.shmSignalOffset + 8, geometry.shmSignalOffset + 12,
        geometry.guestToHost.tableOffset, geometry.hostToGuest.tableOffset,
      ]
      while running() {
        for turn in 0..<256 {
          random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
          let value = UInt32(truncatingIfNeeded: random >> 16)
          let offset =
            turn % 2 == 0
            ? hot[Int(random >> 40) % hot.count] : UInt32(random >> 40) % geometry.size & ~3
          let word = unsafe region.atomic(at: offset)
          switch turn & 12 {
          case 0: unsafe word.pointee.store(value & 1, ordering: .relaxed)
          case 4: unsafe word.pointee.store(value | 1, ordering: .relaxed)
          case 8: unsafe word.pointee.store(8192, ordering: .relaxed)
          default: unsafe word.pointee.store(value, ordering: .relaxed)
          }
        }
      }
    }

    @Test(arguments: [0, 3, 6] as [UInt32])
    func `Every operation ends within its bounds`(slotsLg2: UInt32) throws {
      let region = try TestRegion(slotsLg2: slotsLg2)
      let running = SharedFlag()
      for seed in [1, 2] as [UInt64] {
        try Thread.start(name: "scribbler") { [self] in
          scribble(region, seed: seed) { running.isSet }
          running.leave()
        }
      }
      defer { running.clearAndWait(for: 2) }

      let tables = [region.geometry.guestToHost, region.geometry.hostToGuest].map {
        SignalTable(window: region.window, geometry: $0)
      }
      let signal = region.signal
      let deadline = MonotonicInstant.after(seconds: 60)
      var (most, mostRounds) = (0, 0)
      for turn in 0..<20_000 as Range<UInt32> {
        for table in tables {
          _ = table.post(8192 + turn % 1024 * 4)
          _ = table.raiseInterrupt()
          var count = 0
          _ = table.drain { _ in count += 1 }
          most = max(most, count)
          _ = table.isEmpty
        }
        for end in End.allCases {
          _ = signal.inject(to: end)
          mostRounds = max(mostRounds, signal.acknowledge(end))
          if turn % 3 == 0 { signal.disable(end) } else { _ = signal.enable(end) }
        }
        if turn % 256 == 0 && MonotonicInstant.now > deadline { break }
      }
      #expect(MonotonicInstant.now < deadline)
      // Four passes at most, each of which takes at most one value from each slot.
      #expect(most <= 4 << slotsLg2)
      #expect(mostRounds <= ShmSignal.roundsPerAcknowledgement)
    }

    @Test func `After the rubbish the region works again`() throws {
      let region = try TestRegion()
      let running = SharedFlag()
      try Thread.start(name: "scribbler") { [self] in
        var turns = 0
        scribble(region, seed: 3) {
          turns += 1
          return turns < 200
        }
        running.leave()
      }
      running.clearAndWait(for: 1)

      let table = region.guestToHost
      _ = table.drain { _ in }
      #expect(table.isEmpty && !table.isInterruptRaised)
      #expect(table.post(8192) == .posted)
      #expect(table.raiseInterrupt())
      var values: [UInt32] = []
      #expect(table.drain { values.append($0) })
      #expect(values == [8192])

      _ = region.signal.enable(.host)
      _ = region.signal.acknowledge(.host)
      #expect(region.signal.inject(to: .host))
      #expect(region.signal.acknowledge(.host) == 1)
    }
  }
}

/// Tells threads when to end, and waits until they have.
private final class SharedFlag: Sendable {
  private let flag = Atomic<Bool>(true)
  private let ended = Monitor(0)

  var isSet: Bool { flag.load(ordering: .relaxed) }

  func leave() { ended.withLock { $0 += 1 } }

  func clearAndWait(for count: Int) {
    flag.store(false, ordering: .relaxed)
    _ = ended.wait(until: .after(seconds: 30)) { $0 == count ? () : nil }
  }
}
