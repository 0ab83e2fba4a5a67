// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocProtocol

@testable import VsocPeers

/// The ivshmem protocol, as a virtual machine's side sees it (SPEC §9, §12).
@Suite struct IvshmemTests {
  private let fixture: PeerFixture

  init() throws { fixture = try PeerFixture() }

  @Test func `Who comes first is told of the other end, with the region's memory`() throws {
    for (end, other) in [(End.guest, Int64(1)), (.host, 0)] {
      let client = try fixture.connect(end)
      let hand = try client.handshake(peers: 1)
      #expect(hand.ids == [other])
      #expect(hand.id >= 2)
      let memory = try SharedMapping(descriptor: hand.memory, size: 1 << 20)
      let window = try fixture.region.sealedMemory().window
      try window.word(at: 0x2000).store(0x1234)
      #expect(unsafe memory.base.load(fromByteOffset: 0x2000, as: UInt32.self) == 0x1234)
      #expect(fixture.region.peers.map(\.id) == [UInt16(hand.id)])
      client.close()
      try fixture.eventually { fixture.region.peers.isEmpty }
    }
  }

  @Test func `Peers of the other end are told of one another, those of the same are not`() throws {
    let one = try fixture.connect(.guest)
    let first = try one.handshake(peers: 1)
    let two = try fixture.connect(.guest)
    let second = try two.handshake(peers: 1)
    let three = try fixture.connect(.host)
    let third = try three.handshake(peers: 3)
    #expect(third.ids == [0, first.id, second.id])
    for client in [one, two] {
      let news = try #require(try client.message())
      #expect(news.number == third.id && news.descriptor != nil)
    }
    two.close()
    let gone = try #require(try three.message())
    #expect(gone.number == second.id && gone.descriptor == nil)
    // Nobody has an id that was somebody else's a moment ago.
    let four = try fixture.connect(.guest)
    let fourth = try four.handshake(peers: 2)
    #expect(fourth.ids == [1, third.id])
    #expect(![first.id, second.id, third.id].contains(fourth.id))
    let news = try #require(try three.message())
    #expect(news.number == fourth.id)
    #expect(Set([first.id, second.id, third.id, fourth.id]).count == 4)
  }

  // MARK: Rings

  @Test func `Two machines ring one another, and the mount hears it`() throws {
    let reader = fixture.region.openDoorbell(.host)
    let (guest, host) = try (fixture.connect(.guest), fixture.connect(.host))
    let one = try guest.handshake(peers: 1)
    let other = try host.handshake(peers: 2)
    // By the end's id and by the machine's: it is the same bell.
    for event in [one.peers[0].event, try #require(try guest.message()?.descriptor)] {
      Event.ring(event)
      #expect(Event.take(other.event) == 1)
      try fixture.eventually { try fixture.region.read(reader, capacity: 8) == [0] }
    }
    for peer in other.peers {
      Event.ring(peer.event)
      #expect(Event.take(one.event) == 1)
    }
    fixture.region.close(reader)
  }

  @Test func `Rings from inside the mount reach every machine of the end, and the mount`() throws {
    let clients = try (0..<3).map { _ in try fixture.connect(.guest) }
    let hands = try clients.map { try $0.handshake(peers: 1) }
    let reader = fixture.region.openDoorbell(.guest)
    for offset in [0x2000, 0x2004] as [UInt32] {
      #expect(try fixture.region.post([offset], from: .host) == .posted)
      for hand in hands { #expect(Event.take(hand.event) != nil) }
      try fixture.eventually { try fixture.region.read(reader, capacity: 8).contains(offset) }
    }
    try fixture.region.sendInterrupt(from: .host)
    for hand in hands { #expect(Event.take(hand.event) != nil) }
    try fixture.region.inject(from: .host)
    for hand in hands { #expect(Event.take(hand.event) != nil) }
    // What is for the other end is not for them.
    try fixture.region.sendInterrupt(from: .guest)
    #expect(Event.take(hands[0].event, within: 50) == nil)
    fixture.region.close(reader)
  }

  @Test func `Calls that wait are woken by a machine's ring`() throws {
    let client = try fixture.connect(.guest)
    let hand = try client.handshake(peers: 1)
    let reader = fixture.region.openDoorbell(.host)
    for offset in [0, 0x2008] as [UInt32] {
      let outcome = Monitor([UInt32]?.none)
      let read = DoorbellRead(reader, capacity: 8) { result in
        outcome.withLock { $0 = (try? result.get()) ?? [] }
      }
      read.register()
      read.begin()
      let memory = try SharedMapping(descriptor: hand.memory, size: 1 << 20)
      let window = unsafe RegionWindow(base: memory.base, size: 1 << 20)
      let table = SignalTable(
        window: window, geometry: fixture.region.configuration.geometry.guestToHost)
      if offset != 0 { #expect(table.post(offset) == .posted && table.raiseInterrupt()) }
      Event.ring(hand.peers[0].event)
      #expect(outcome.wait(until: .after(seconds: 20)) { $0 } == [offset])
    }
    fixture.region.close(reader)
  }

  /// Whatever is rung, by whom and how often: after the last ring everybody looks once more.
  @Test func `No ring of a crowd of ringers is lost`() throws {
    let (guest, host) = try (fixture.connect(.guest), fixture.connect(.host))
    let one = try guest.handshake(peers: 1)
    _ = try host.handshake(peers: 2)
    let geometry = fixture.region.configuration.geometry
    let memory = try SharedMapping(descriptor: one.memory, size: 1 << 20)
    let table = SignalTable(
      window: unsafe RegionWindow(base: memory.base, size: 1 << 20),
      geometry: geometry.guestToHost)
    let reader = fixture.region.openDoorbell(.host)
    let rounds = 5000
    let seen = Monitor(Set<UInt32>())
    // Each offset is posted once by somebody: the machine, or the mount.
    let calls = (0..<2).map { sender in
      ThreadCall {
        for round in 0..<rounds {
          let offset = 0x2000 + UInt32(round * 2 + sender) * 4
          if sender == 0 {
            while table.post(offset) == .full {
              if table.raiseInterrupt() { Event.ring(one.peers[0].event) }
              _ = sched_yield()
            }
            if table.raiseInterrupt() { Event.ring(one.peers[0].event) }
          } else {
            while try fixture.region.post([offset], from: .guest) != .posted { _ = sched_yield() }
          }
        }
      }
    }
    let receiver = ThreadCall {
      while seen.withLock({ $0.count }) < 2 * rounds {
        let outcome = Monitor([UInt32]?.none)
        let read = DoorbellRead(reader, capacity: 256) { result in
          outcome.withLock { $0 = (try? result.get()) ?? [] }
        }
        read.register()
        read.begin()
        guard let offsets = outcome.wait(until: .after(seconds: 20), for: { $0 }) else { return }
        seen.withLock { $0.formUnion(offsets.filter { $0 != 0 }) }
      }
    }
    for call in calls { try call.wait() }
    try receiver.wait()
    #expect(seen.withLock { $0.count } == 2 * rounds)
    fixture.region.close(reader)
  }

  // MARK: Refusals

  /// With a version that is none: at a mere end QEMU goes on reading, for ever.
  @Test func `A size that is no power of two, and a managed region, are refused before anything`()
    throws
  {
    let odd = try fixture.engine.create(PeerFixture.configuration("odd", size: 12 << 10))
    var managed = try PeerFixture.configuration("managed")
    managed.managedBy = fixture.region.name
    let area = try fixture.engine.create(managed)
    for region in [odd, area] {
      let client = try fixture.connect(.host, of: region)
      let version = try #require(try client.message())
      #expect(version.number == -1 && version.descriptor == nil)
      #expect(try client.message() == nil)
    }
    let lines = try fixture.takeLines(2)
    #expect(lines[0].contains("odd") && lines[0].contains("power of two"))
    #expect(lines[1].contains("managed") && lines[1].contains("EPERM"))
    #expect(fixture.engine.peerCounts == [:])
  }

  @Test func `Whoever says anything, or stops in the middle, is gone`() throws {
    let other = try fixture.connect(.host)
    let hand = try other.handshake(peers: 1)
    for round in 0..<100 {
      let client = try fixture.connect(.guest)
      if round % 2 == 0 { client.send([1]) }
      if round % 3 == 0 { _ = try client.message() }
      client.close()
    }
    try fixture.eventually { fixture.region.peers.map(\.id) == [UInt16(hand.id)] }
    // Each that came went.
    let late = try fixture.connect(.guest)
    let last = try late.handshake(peers: 2).id
    var live: Set<Int64> = []
    while !live.contains(last) {
      let news = try #require(try other.message())
      if news.descriptor == nil {
        #expect(live.remove(news.number) != nil)
      } else {
        #expect(live.insert(news.number).inserted)
      }
    }
    #expect(live == [last])
    late.close()
  }

  @Test func `Beyond the capacity nobody else is let in, until somebody goes`() throws {
    let small = try PeerFixture(PeerLimits(connections: 3, doors: 4))
    let clients = try (0..<3).map { _ in try small.connect(.guest) }
    for client in clients { _ = try client.handshake(peers: 1) }
    let refused = try small.connect(.guest)
    #expect(try refused.message()?.number == -1)
    #expect(try refused.message() == nil)
    #expect(try small.takeLines(1)[0].contains("of 3 connections"))
    clients[1].close()
    try small.eventually { small.region.peers.count == 2 }
    _ = try small.connect(.guest).handshake(peers: 1)
  }

  /// The flag and the counter belong to everybody who has the event.
  @Test func `An event that is full, and would block, keeps nobody waiting`() throws {
    let (guest, host) = try (fixture.connect(.guest), fixture.connect(.host))
    let one = try guest.handshake(peers: 1)
    _ = try host.handshake(peers: 2)
    for event in [one.event, one.peers[0].event] {
      _ = fcntl(event, F_SETFL, O_RDWR)
      var most = UInt64.max - 1
      #expect(unsafe write(event, &most, 8) == 8)
    }
    let reader = fixture.region.openDoorbell(.host)
    for _ in 0..<10 {
      try fixture.region.sendInterrupt(from: .guest)
      try fixture.region.sendInterrupt(from: .host)
      try fixture.eventually { try fixture.region.read(reader, capacity: 8) == [0] }
    }
    fixture.region.close(reader)
  }

  /// With the first machine rings begin to go by way of the bells.
  @Test func `No ring is lost while the first machine comes`() throws {
    for round in 0..<200 {
      let region = try fixture.engine.create(PeerFixture.configuration("first\(round)"))
      let reader = region.openDoorbell(.host)
      let rings = ThreadCall {
        for offset in stride(from: UInt32(0x2000), to: 0x2100, by: 4) {
          while try region.post([offset], from: .guest) != .posted { _ = sched_yield() }
        }
        try region.sendInterrupt(from: .guest)
      }
      let peer = try region.attach(.vm, at: .guest)
      var seen: Set<UInt32> = []
      while seen.count < 64 {
        let outcome = Monitor([UInt32]?.none)
        let read = DoorbellRead(reader, capacity: 256) { result in
          outcome.withLock { $0 = (try? result.get()) ?? [] }
        }
        read.register()
        read.begin()
        seen.formUnion(
          try #require(outcome.wait(until: .after(seconds: 20), for: { $0 })).filter { $0 != 0 })
      }
      try rings.wait()
      region.detach(peer)
      region.close(reader)
    }
  }

  @Test func `A region with a machine is in use`() throws {
    let client = try fixture.connect(.host)
    _ = try client.handshake(peers: 1)
    #expect(throws: Errno.resourceBusy) { try fixture.engine.destroy(fixture.region.name) }
    client.close()
    try fixture.eventually { fixture.region.peers.isEmpty }
    try fixture.eventually { (try? fixture.engine.destroy(fixture.region.name)) != nil }
  }
}

/// A thread with an outcome.
final class ThreadCall: Sendable {
  private let outcome = Monitor(Result<Void, any Error>?.none)

  init(_ body: @escaping @Sendable () throws -> Void) {
    let outcome = outcome
    do {
      try Thread.start(name: "call") {
        let result = Result { try body() }
        outcome.withLock { $0 = result }
      }
    } catch {
      outcome.withLock { $0 = .failure(error) }
    }
  }

  func wait() throws {
    let result = try #require(outcome.wait(until: .after(seconds: 60)) { $0 })
    try result.get()
  }
}
