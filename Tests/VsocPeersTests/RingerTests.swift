// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import Synchronization
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocProtocol

@testable import VsocPeers

/// What it takes to ring peers, where the kernel does not give it.
@Suite struct RingerTests {
  private final class Kernel: Sendable {
    let refuses = Atomic(true)
    /// What it has done so far.
    let count = Atomic(0)
  }

  @Test func `Without a ringer nobody takes part, until there is one`() throws {
    let kernel = Kernel()
    let fixture = try PeerFixture { () throws(Errno) in
      guard !kernel.refuses.load(ordering: .relaxed) else { throw .resourceTemporarilyUnavailable }
      return try Ringer()
    }
    for _ in 0..<2 {
      let refused = try fixture.connect(.guest)
      #expect(try refused.message()?.number == -1)
      #expect(try refused.message() == nil)
      #expect(try fixture.takeLines(1).contains { $0.contains("cannot be given") })
    }
    let (socket, path) = try fixture.hostSocket()
    let client = try PeerClient(path)
    _ = try client.receive(4)
    client.send([UInt8](of: Int16(4)) + Array("demo".utf8))
    #expect(try client.receive(8).0 == [])
    #expect(fixture.region.peers.isEmpty)
    kernel.refuses.store(false, ordering: .relaxed)
    _ = try fixture.connect(.guest).handshake(peers: 1)
    withExtendedLifetime(socket) {}
  }

  /// It is logged, tried again, and keeps nobody waiting.
  @Test func `A ring for which there is no memory comes later`() throws {
    let kernel = Kernel()
    let fixture = try PeerFixture { () throws(Errno) in
      Ringer { event throws(Errno) in
        if kernel.count.wrappingAdd(1, ordering: .relaxed).newValue < 5 { throw .noMemory }
        Event.ring(event)
      }
    }
    let machine = try fixture.connect(.guest)
    let hand = try machine.handshake(peers: 1)
    let reader = fixture.region.openDoorbell(.guest)
    try fixture.region.sendInterrupt(from: .host)
    #expect(Event.take(hand.event) == 1)
    try fixture.eventually { try fixture.region.read(reader, capacity: 8) == [0] }
    fixture.region.close(reader)
  }

  @Test func `Every ring that is late is told`() throws {
    let log = CollectedLog()
    let engine = try Engine(
      ringer: { () throws(Errno) in Ringer { _ throws(Errno) in throw .noMemory } },
      log: log.logger)
    defer { engine.shutDown() }
    let region = try engine.create(PeerFixture.configuration("demo"))
    let peer = try region.attach(.vm, at: .guest)
    try region.sendInterrupt(from: .host)
    #expect(
      log.lines.wait(until: .after(seconds: 20)) { $0.first { $0.contains("rung late") } } != nil)
    region.detach(peer)
  }
}
