// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import TestSupport
import Testing
import VsocProtocol

@testable import VsocEngine

@Suite struct DoorbellTests {
  private let fixture: Fixture
  private let region: Region

  init() throws {
    fixture = try Fixture(slotsLg2: 2)
    region = fixture.region
  }

  @Test func `What is posted at one end is read at the other, once`() throws {
    let reader = region.openDoorbell(.host)
    #expect(try region.post([0x2000, 0x2004, 0x2000], from: .guest) == .posted)
    #expect(try Set(region.read(reader, capacity: 64)) == [0x2000, 0x2004])
    #expect(try region.read(reader, capacity: 64).isEmpty)
    #expect(try region.read(region.openDoorbell(.guest), capacity: 64).isEmpty)
  }

  @Test func `Every reader sees every offset that was drained since it opened`() throws {
    let early = region.openDoorbell(.host)
    _ = try region.post([0x2000], from: .guest)
    #expect(try region.read(early, capacity: 1) == [0x2000])
    let late = region.openDoorbell(.host)
    _ = try region.post([0x3000], from: .guest)
    #expect(try region.read(late, capacity: 64) == [0x3000])
    #expect(try region.read(early, capacity: 64) == [0x3000])
  }

  @Test func `A blocked read and all pollers hear of a ring`() throws {
    let observer = CountingObserver()
    let blocked = region.openDoorbell(.host)
    let polled = region.openDoorbell(.host, observer: observer)
    #expect(try !region.readiness(of: polled, watchingWritability: false).readable)
    let read = try fixture.park(blocked)
    #expect(read.isWaiting)
    _ = try region.post([0x2000], from: .guest)
    #expect(read.wait() == .success([0x2000]))
    #expect(observer.count > 0)
    #expect(try region.readiness(of: polled, watchingWritability: false).readable)
    #expect(try region.read(polled, capacity: 64) == [0x2000])
  }

  @Test func `Two blocked readers of one end both get the offset`() throws {
    let reads = try [region.openDoorbell(.guest), region.openDoorbell(.guest)].map {
      try fixture.park($0)
    }
    _ = try region.post([0x2008], from: .host)
    for read in reads { #expect(read.wait() == .success([0x2008])) }
  }

  @Test func `A ring without an offset reads as zero, and is remembered`() throws {
    try region.sendInterrupt(from: .guest)
    try region.sendInterrupt(from: .guest)
    let reader = region.openDoorbell(.host)
    #expect(try region.readiness(of: reader, watchingWritability: false).readable)
    #expect(try region.read(reader, capacity: 64) == [0])
    #expect(try region.read(reader, capacity: 64).isEmpty)
  }

  @Test func `An interrupt that is in flight is not sent twice`() throws {
    #expect(try region.maybeSendInterrupt(from: .guest))
    #expect(try !region.maybeSendInterrupt(from: .guest))
    let reader = region.openDoorbell(.host)
    #expect(try region.read(reader, capacity: 64) == [0])
    #expect(try region.maybeSendInterrupt(from: .guest))
  }

  @Test func `What a sender posted who died before it rang is delivered`() throws {
    let reader = region.openDoorbell(.host)
    #expect(try fixture.table(from: .guest).post(0x2010) == .posted)
    #expect(try region.readiness(of: reader, watchingWritability: false).readable)
    #expect(try region.read(reader, capacity: 64) == [0x2010])
  }

  @Test func `Offsets that are none are dropped and counted`() throws {
    let reader = region.openDoorbell(.host)
    for bad: UInt32 in [0x2002, 0x100000, 0xffff_fffc] {
      _ = try fixture.table(from: .guest).post(bad)
    }
    _ = try region.post([0x2000], from: .guest)
    #expect(try region.read(reader, capacity: 64) == [0x2000])
    #expect(fixture.engine.counters.values.contains { $0 == ("bad_offsets", 3) })
  }

  @Test func `A round trip comes back to the sender, after the receiver's side was woken`() throws {
    let sender = region.openDoorbell(.guest)
    let receiver = region.openDoorbell(.host)
    let answer = try fixture.park(sender)
    _ = try fixture.table(from: .guest).post(0x2000 | SignalTable.roundTripFlag)
    #expect(try region.read(receiver, capacity: 64) == [0x2000])
    #expect(answer.wait() == .success([0x2000]))
  }

  @Test func `A round trip is owed while the sender's table is full`() throws {
    let sender = region.openDoorbell(.guest)
    let receiver = region.openDoorbell(.host)
    for offset: UInt32 in [0x3000, 0x3004, 0x3008, 0x300c] {
      #expect(try fixture.table(from: .host).post(offset) == .posted)
    }
    _ = try fixture.table(from: .guest).post(0x2000 | SignalTable.roundTripFlag)
    #expect(try region.read(receiver, capacity: 64) == [0x2000])
    let first = try region.read(sender, capacity: 64)
    let second = try region.read(sender, capacity: 64)
    #expect(Set(first + second) == [0x3000, 0x3004, 0x3008, 0x300c, 0x2000])
  }

  @Test func `A writer waits for room and goes on with the drain`() throws {
    let offsets = (0..<10).map { UInt32(0x2000 + 4 * $0) }
    guard case .full(let posted) = try region.post(offsets, from: .guest) else {
      Issue.record("four slots held ten offsets")
      return
    }
    #expect(posted == 4)
    let write = try fixture.park(write: offsets, from: .guest, posted: posted)
    #expect(write.isWaiting)
    let reader = region.openDoorbell(.host)
    var seen: Set<UInt32> = []
    while seen.count < 10 {
      let read = try fixture.park(reader)
      guard case .success(let offsets) = try #require(read.wait(), "lost: \(seen)") else { break }
      seen.formUnion(offsets)
    }
    #expect(seen == Set(offsets))
    #expect(write.wait() == .success(10))
  }

  @Test func `A writer that is interrupted says how much was posted`() throws {
    let offsets = (0..<6).map { UInt32(0x2000 + 4 * $0) }
    #expect(try region.post(offsets, from: .guest) == .full(posted: 4))
    let write = try fixture.park(write: offsets, from: .guest, posted: 4)
    region.parking.abandon(token: write.token, .interrupted)
    #expect(write.wait() == .failure(.interrupted))
    #expect(region.snapshot(of: .guest).blockedWriters == 0)
  }

  @Test func `Without blocking, a write is all or nothing`() throws {
    let offsets = (0..<5).map { UInt32(0x2000 + 4 * $0) }
    #expect(try region.post(offsets, from: .guest, allOrNothing: true) == .exceedsTable)
    #expect(try fixture.table(from: .guest).isEmpty)
    #expect(try region.post([0x3000, 0x3004], from: .guest, allOrNothing: true) == .posted)
    #expect(
      try region.post(Array(offsets[..<3]), from: .guest, allOrNothing: true) == .full(posted: 0))
    #expect(try fixture.table(from: .guest).postedCount == 2)
    // What stands there already needs no room.
    #expect(try region.post([0x3000, 0x3004], from: .guest, allOrNothing: true) == .posted)
  }

  @Test func `A receiver that drains through the mapping lets a blocked writer go on`() throws {
    let offsets = (0..<5).map { UInt32(0x2000 + 4 * $0) }
    #expect(try region.post(offsets, from: .guest) == .full(posted: 4))
    let write = try fixture.park(write: offsets, from: .guest, posted: 4)
    var drained: [UInt32] = []
    _ = try fixture.table(from: .guest).drain { drained.append($0) }
    // As a receiver does, without knowing whether anybody sleeps there.
    for offset in drained { try wakeFutex(offset) }
    #expect(write.wait() == .success(5))
  }

  @Test func `A machine that drains and rings lets a blocked writer go on`() throws {
    let machine = try region.attach(.vm, at: .host)
    defer { region.detach(machine) }
    let offsets = (0..<5).map { UInt32(0x2000 + 4 * $0) }
    #expect(try region.post(offsets, from: .guest) == .full(posted: 4))
    let write = try fixture.park(write: offsets, from: .guest, posted: 4)
    // It has no futexes to wake.
    let bell = try #require(region.bell(of: .guest))
    _ = try fixture.table(from: .guest).drain { _ in }
    try bell.ring()
    #expect(write.wait() == .success(5))
  }

  private func wakeFutex(_ offset: UInt32) throws {
    _ = unsafe Futex.wakeAll(try fixture.word(offset).address)
  }

  @Test func `A wait for the incoming word ends when it is set, also if a reader drains it`() throws
  {
    let wait = try fixture.parkForInterrupt(.host)
    try region.sendInterrupt(from: .guest)
    #expect(wait.isWaiting, "a bare ring does not set the word")
    let read = try fixture.park(region.openDoorbell(.host))
    #expect(read.wait() == .success([0]))
    let other = try fixture.park(region.openDoorbell(.host))
    #expect(try region.maybeSendInterrupt(from: .guest))
    #expect(wait.wait() == .success(true))
    #expect(other.wait() == .success([0]))
  }

  @Test func `A self interrupt wakes its own end`() throws {
    let wait = try fixture.parkForInterrupt(.guest)
    try region.selfInterrupt(.guest)
    #expect(wait.wait() == .success(true))
    #expect(try region.isInterruptRaised(at: .guest))
    #expect(try !region.isInterruptRaised(at: .host))
  }

  @Test func `Pollers for room hear of a drain`() throws {
    let observer = CountingObserver()
    let sender = region.openDoorbell(.guest, observer: observer)
    let receiver = region.openDoorbell(.host)
    _ = try region.post([0x2000], from: .guest)
    #expect(try !region.readiness(of: sender, watchingWritability: true).writable)
    let before = observer.count
    _ = try region.read(receiver, capacity: 64)
    #expect(observer.count > before)
    #expect(try region.readiness(of: sender, watchingWritability: true).writable)
  }

  @Test func `A closed reader is answered and forgotten`() throws {
    let reader = region.openDoorbell(.host)
    let read = try fixture.park(reader)
    region.close(reader)
    #expect(read.wait() == .failure(.gone))
    #expect(fixture.engine.parking.count == 0)
    #expect(region.snapshot(of: .host).doorbellReaders == 0)
  }

  @Test func `A sender that sleeps on the word of a full table is woken by a drain`() throws {
    let word = try fixture.word(fixture.memory.geometry.guestToHost.wordOffset)
    _ = try region.post([0x2000, 0x2004, 0x2008, 0x200c], from: .guest)
    let isAwake = Monitor(false)
    try Thread.start(name: "test") {
      var set = FutexWaitSet()
      unsafe set.append(word.address, value: 1, isShared: true)
      _ = set.wait()
      isAwake.withLock { $0 = true }
    }
    _ = try region.read(region.openDoorbell(.host), capacity: 64)
    // Woken, or kept from sleeping by the word that was cleared.
    #expect(isAwake.wait(until: .after(seconds: Fixture.seconds)) { $0 ? true : nil } != nil)
  }
}
