// SPDX-License-Identifier: Apache-2.0

import Synchronization
import TestSupport
import Testing
import VsocProtocol

extension Races {
  /// The places where each side stores and then looks at what the other side stores, one by one and
  /// a great many times. A lost wakeup: both have looked, and neither knows that there is something.
  @Suite struct DuelTests {
    private func regions(slotsLg2: UInt32 = 0) throws -> [TestRegion] {
      try (0..<Duel.batch).map { _ in try TestRegion(slotsLg2: slotsLg2) }
    }

    @Test func `Enable racing inject loses none of a million`() throws {
      let regions = try regions()
      let signals = regions.map(\.signal)
      var lost = 0
      try Duel.run(rounds: 1_000_000) { index in
        signals[index].disable(.host)
        _ = signals[index].enable(.guest)
        clear(signals[index], .host)
      } first: { index in
        signals[index].enable(.host) ? 1 : 0
      } second: { index in
        signals[index].inject(to: .host) ? 1 : 0
      } verify: { index, due, notify in
        if due == 0 && notify == 0 || !signals[index].isDue(.host) { lost += 1 }
        return lost == 0
      }
      #expect(lost == 0, "enabled while something was injected, and neither side noticed")
    }

    /// The injector sees that a notification is pending and leaves it at that; the receiver is just
    /// about to clear it.
    @Test func `Acknowledge racing inject loses none`() throws {
      let regions = try regions()
      let signals = regions.map(\.signal)
      var lost = 0
      try Duel.run(rounds: 500_000) { index in
        clear(signals[index], .host)
        _ = signals[index].inject(to: .host)
      } first: { index in
        signals[index].acknowledge(.host)
      } second: { index in
        signals[index].inject(to: .host) ? 1 : 0
      } verify: { index, acknowledged, notify in
        // Nobody will look again unless the injector asks for it.
        if notify == 0 && signals[index].isDue(.host) { lost += 1 }
        return acknowledged > 0 && lost == 0
      }
      #expect(
        lost == 0, "left due, and the injector thought it was being looked after")
    }

    @Test func `Two injectors: exactly one notifies`() throws {
      let regions = try regions()
      let signals = regions.map(\.signal)
      var wrong = 0
      try Duel.run(rounds: 200_000) { index in
        clear(signals[index], .host)
      } first: { index in
        signals[index].inject(to: .host) ? 1 : 0
      } second: { index in
        signals[index].inject(to: .host) ? 1 : 0
      } verify: { _, first, second in
        if first + second != 1 { wrong += 1 }
        return wrong == 0
      }
      #expect(wrong == 0)
    }

    /// The word is still set from an interrupt that the receiver is just taking in.
    @Test(arguments: [0, 1, 6] as [UInt32])
    func `Drain racing post and raise loses none`(slotsLg2: UInt32) throws {
      let regions = try regions(slotsLg2: slotsLg2)
      let tables = regions.map(\.guestToHost)
      var lost = 0
      try Duel.run(rounds: slotsLg2 == 6 ? 100_000 : 500_000) { index in
        _ = tables[index].drain { _ in }
        _ = tables[index].raiseInterrupt()
      } first: { index in
        var count = 0
        _ = tables[index].drain { _ in count += 1 }
        return count
      } second: { index in
        guard tables[index].post(8192) == .posted else { return -1 }
        return tables[index].raiseInterrupt() ? 1 : 0
      } verify: { index, drained, ring in
        if ring < 0 || drained + (tables[index].isEmpty ? 0 : 1) != 1 { lost += 1 }
        if drained == 0 && ring == 0 { lost += 1 }
        // Nor may the word stay set without a ring: no sender would ever ring again.
        if ring == 0 && tables[index].isInterruptRaised { lost += 1 }
        return lost == 0
      }
      #expect(lost == 0, "posted while an interrupt was in flight, and the receiver missed it")
    }

    /// The offset stands in the table already: either the one who takes it sees what was stored in
    /// the futex word before this second post, or it stands there anew. Whether the second sender
    /// rings does not matter, since a third may have raised the word in between.
    @Test func `A post that finds its offset posted is seen or stays`() throws {
      let regions = try regions()
      let tables = regions.map(\.guestToHost)
      let store: @Sendable (Int, UInt32) -> Void = { [regions] index, value in
        unsafe regions[index].atomic(at: 8192).pointee.store(value, ordering: .relaxed)
      }
      var lost = 0
      try Duel.run(rounds: 500_000) { index in
        _ = tables[index].drain { _ in }
        store(index, 1)
        _ = tables[index].post(8192)
        _ = tables[index].raiseInterrupt()
      } first: { index in
        var seen = 0
        _ = tables[index].drain { _ in
          seen = Int(
            unsafe regions[index].atomic(at: 8192).pointee.load(ordering: .relaxed))
        }
        return seen
      } second: { index in
        // With the slot in this core's cache and the futex word not, a load of the one overtakes
        // the store to the other, if anything lets it.
        _ = tables[index].isEmpty
        store(index, 2)
        return tables[index].post(8192) == .full ? 1 : 0
      } verify: { index, seen, full in
        if full == 1 || seen != 2 && tables[index].isEmpty { lost += 1 }
        return lost == 0
      }
      #expect(lost == 0, "the receiver read an old value, and the offset is gone")
    }

    @Test func `Two drains take every offset once`() throws {
      let regions = try regions(slotsLg2: 2)
      let tables = regions.map(\.guestToHost)
      let drain: @Sendable (Int) -> Int = { index in
        var count = 0
        _ = tables[index].drain { _ in count += 1 }
        return count
      }
      var wrong = 0
      try Duel.run(rounds: 200_000) { index in
        for offset in 0..<4 as Range<UInt32> { _ = tables[index].post(8192 + 4 * offset) }
        _ = tables[index].raiseInterrupt()
      } first: { index in
        drain(index)
      } second: { index in
        drain(index)
      } verify: { _, first, second in
        if first + second != 4 { wrong += 1 }
        return wrong == 0
      }
      #expect(wrong == 0)
    }

    /// Of two senders one gets the only slot, whatever their offsets; of one offset, one is first.
    @Test(arguments: [8192, 8196] as [UInt32])
    func `Two posts at once do not overwrite each other`(other: UInt32) throws {
      let regions = try regions()
      let tables = regions.map(\.guestToHost)
      let codes: [SignalTable.Posting: Int] = [.posted: 1, .alreadyPosted: 10, .full: 100]
      let expected = other == 8192 ? 11 : 101
      var wrong = 0
      try Duel.run(rounds: 200_000) { index in
        _ = tables[index].drain { _ in }
      } first: { index in
        codes[tables[index].post(8192)]!
      } second: { index in
        codes[tables[index].post(other)]!
      } verify: { _, first, second in
        if first + second != expected { wrong += 1 }
        return wrong == 0
      }
      #expect(wrong == 0)
    }

    private func clear(_ signal: ShmSignal, _ end: End) {
      let wasEnabled = signal.isEnabled(end)
      _ = signal.enable(end)
      _ = signal.acknowledge(end)
      if !wasEnabled { signal.disable(end) }
    }
  }
}
