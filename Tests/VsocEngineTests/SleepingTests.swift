// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocProtocol

@testable import VsocEngine

@Suite struct SleepingTests {
  private let fixture: Fixture
  private let region: Region

  init() throws {
    fixture = try Fixture()
    region = fixture.region
  }

  @Test func `A word that has another value lets nobody sleep`() throws {
    #expect(try fixture.sleep(at: 0x2000, while: 1).wait() == .success(0))
  }

  @Test func `A wake is counted, and the sleeper stays while the word does`() throws {
    let sleeper = try fixture.sleep(at: 0x2000)
    try region.condWake(0x2000)
    #expect(sleeper.isWaiting)
    try fixture.word(0x2000).store(1)
    try region.condWake(0x2000)
    // Two, or one, if the word was seen to have changed before the second.
    guard case .success(1...2) = try #require(sleeper.wait()) else {
      Issue.record("\(sleeper.results)")
      return
    }
  }

  @Test func `Only the sleepers at the offset stir`() throws {
    let others = try [0x1ffc, 0x2004, 0x3000].map { try fixture.sleep(at: $0) }
    let sleeper = try fixture.sleep(at: 0x2000)
    try fixture.word(0x2000).store(7)
    try region.condWake(0x2000)
    #expect(sleeper.wait() == .success(1))
    for (other, offset) in zip(others, [0x1ffc, 0x2004, 0x3000] as [UInt32]) {
      #expect(other.isWaiting)
      try fixture.word(offset).store(7)
      try region.condWake(offset)
      // One wake, its own; or none, if the word was seen to have changed before.
      guard case .success(0...1) = try #require(other.wait()) else {
        Issue.record("\(other.results)")
        return
      }
    }
  }

  @Test func `A deadline ends a sleep`() throws {
    let start = MonotonicInstant.now
    let sleeper = try fixture.sleep(at: 0x2000, until: .after(seconds: 0.05))
    #expect(sleeper.wait() == .failure(.timedOut))
    #expect(MonotonicInstant.now.nanoseconds - start.nanoseconds >= 50_000_000)
    #expect(region.snapshot(of: .guest).sleepers == 0)
  }

  @Test func `A deadline that is past ends a sleep at once`() throws {
    let sleeper = try fixture.sleep(at: 0x2000, until: MonotonicInstant(nanoseconds: 0))
    #expect(sleeper.wait() == .failure(.timedOut))
  }

  @Test func `A thousand deadlines in any order end in time`() throws {
    var sleepers: [Outcome<UInt32>] = []
    for number in 0..<1000 {
      let seconds = Double((number * 7919) % 100) / 1000
      sleepers.append(
        try fixture.sleep(at: UInt32(0x2000 + 4 * number), until: .after(seconds: seconds)))
    }
    for sleeper in sleepers { #expect(sleeper.wait() == .failure(.timedOut)) }
  }

  @Test func `A futex wake from a mapping wakes a sleeper`() throws {
    let sleeper = try fixture.sleep(at: 0x2000)
    let word = try fixture.word(0x2000)
    word.store(1)
    // Until the wake finds our sleep on the word, or that has seen the new value by itself.
    unsafe Futex.wakeAll(word.address)
    #expect(sleeper.wait() != nil)
  }

  @Test func `More words than one futex_waitv takes are all heard`() throws {
    let count = 1000
    let offsets = (0..<count).map { UInt32(0x2000 + 4 * $0) }
    let sleepers = try offsets.map { try fixture.sleep(at: $0) }
    #expect(fixture.engine.futexThreadCount >= count / 127)
    for offset in offsets.reversed() {
      let word = try fixture.word(offset)
      word.store(1)
      unsafe Futex.wakeAll(word.address)
    }
    for sleeper in sleepers {
      guard case .success = try #require(sleeper.wait(), "not woken") else {
        Issue.record("ended otherwise")
        return
      }
    }
  }

  @Test func `A drain wakes the sleepers at what was posted`() throws {
    let sleeper = try fixture.sleep(at: 0x2000)
    let other = try fixture.sleep(at: 0x2004)
    try fixture.word(0x2000).store(1)
    _ = try region.post([0x2000], from: .host)
    _ = try region.read(region.openDoorbell(.guest), capacity: 64)
    // None counted if the change of the word was seen before the drain.
    guard case .success(0...1) = try #require(sleeper.wait()) else {
      Issue.record("\(sleeper.results)")
      return
    }
    #expect(other.isWaiting)
  }

  @Test func `Sleepers for different values at one word do not hide each other`() throws {
    let first = try fixture.sleep(at: 0x2000, while: 0)
    try fixture.word(0x2000).store(5)
    let second = try fixture.sleep(at: 0x2000, while: 5)
    #expect(first.wait() == .success(0))
    #expect(second.isWaiting)
    try fixture.word(0x2000).store(6)
    try region.condWake(0x2000)
    #expect(second.wait() == .success(1))
  }

  @Test func `The same word is slept on again and again`() throws {
    let word = try fixture.word(0x2000)
    for round: UInt32 in 0..<500 {
      let sleeper = try fixture.sleep(at: 0x2000, while: round)
      word.store(round + 1)
      if round % 2 == 0 {
        try region.condWake(0x2000)
      } else {
        unsafe Futex.wakeAll(word.address)
      }
      #expect(sleeper.wait() != nil, "round \(round)")
    }
    #expect(fixture.engine.futexThreadCount == 1)
  }

  @Test func `Refused offsets`() {
    #expect(throws: Errno.addressNotAvailable) { try region.condWake(0x2001) }
    #expect(throws: Errno.argListTooLong) { try region.condWake(1 << 20) }
    #expect(throws: Errno.argListTooLong) { _ = try region.value(at: .max - 3) }
    #expect(throws: Errno.addressNotAvailable) { _ = try region.value(at: 2) }
  }

  @Test func `The end of the engine ends every wait, once`() throws {
    let reader = region.openDoorbell(.guest)
    let outcomes = try (0..<50).map { try fixture.sleep(at: UInt32(0x2000 + 4 * $0)) }
    let read = try fixture.park(reader)
    fixture.engine.shutDown()
    for outcome in outcomes { #expect(outcome.results == [.failure(.gone)]) }
    #expect(read.results == [.failure(.gone)])
  }
}
