// SPDX-License-Identifier: Apache-2.0

import Synchronization
import TestSupport
import Testing
import VsocProtocol

@Suite struct SignalTableTests {
  private func drained(_ table: SignalTable) -> (wasRaised: Bool, values: [UInt32]) {
    var values: [UInt32] = []
    let wasRaised = table.drain { values.append($0) }
    return (wasRaised, values)
  }

  /// Overwrites a word of the region as a peer that knows no rules would.
  private func poke(_ region: TestRegion, _ offset: UInt32, _ value: UInt32) throws {
    let word = try region.window.word(at: offset)
    word.store(value)
  }

  private func peek(_ region: TestRegion, _ offset: UInt32) throws -> UInt32 {
    let word = try region.window.word(at: offset)
    return word.load()
  }

  @Test func `A fresh table is empty and no interrupt is in flight`() throws {
    let table = try TestRegion().guestToHost
    #expect(table.isEmpty)
    #expect(!table.isInterruptRaised)
    #expect(drained(table) == (false, []))
  }

  @Test func `What is posted is drained once`() throws {
    let table = try TestRegion().guestToHost
    #expect(table.post(8192) == .posted)
    #expect(table.post(8196) == .posted)
    #expect(!table.isEmpty)
    #expect(!table.isInterruptRaised)
    #expect(table.raiseInterrupt())
    #expect(table.isInterruptRaised)
    let (wasRaised, values) = drained(table)
    #expect(wasRaised)
    #expect(Set(values) == [8192, 8196] && values.count == 2)
    #expect(table.isEmpty && !table.isInterruptRaised)
    #expect(drained(table) == (false, []))
  }

  @Test func `The value stands in the slot of its hash, visible to a peer`() throws {
    let region = try TestRegion()
    #expect(region.guestToHost.post(8192 + 4 * 5) == .posted)
    #expect(try peek(region, region.geometry.guestToHost.tableOffset + 4 * 5) == 8192 + 4 * 5)
    #expect(try peek(region, region.geometry.guestToHost.wordOffset) == 0)
    #expect(region.guestToHost.raiseInterrupt())
    #expect(try peek(region, region.geometry.guestToHost.wordOffset) == 1)
  }

  @Test func `The two directions do not meet`() throws {
    let region = try TestRegion()
    let back = SignalTable(window: region.window, geometry: region.geometry.hostToGuest)
    #expect(region.guestToHost.post(8192) == .posted)
    #expect(region.guestToHost.raiseInterrupt())
    #expect(drained(back) == (false, []))
    #expect(back.post(8192) == .posted)
    #expect(drained(region.guestToHost) == (true, [8192]))
    #expect(drained(back) == (false, [8192]))
  }

  @Test func `An offset that is posted already is not posted twice`() throws {
    let table = try TestRegion().guestToHost
    #expect(table.post(8192) == .posted)
    #expect(table.post(8192) == .alreadyPosted)
    #expect(drained(table).values == [8192])
    #expect(table.post(8192) == .posted)
  }

  @Test func `Only the first to raise must ring`() throws {
    let table = try TestRegion().guestToHost
    #expect(table.raiseInterrupt())
    #expect(!table.raiseInterrupt())
    _ = drained(table)
    #expect(table.raiseInterrupt())
  }

  @Test func `Any value but 0 in the word is an interrupt in flight`() throws {
    let region = try TestRegion()
    try poke(region, region.geometry.guestToHost.wordOffset, 0xdead_beef)
    #expect(region.guestToHost.isInterruptRaised)
    #expect(!region.guestToHost.raiseInterrupt())
    #expect(drained(region.guestToHost).wasRaised)
    #expect(!region.guestToHost.isInterruptRaised)
  }

  @Test(arguments: [0, 1, 4, 6, 8] as [UInt32])
  func `A table takes as many offsets as it has slots`(slotsLg2: UInt32) throws {
    let table = try TestRegion(slotsLg2: slotsLg2).guestToHost
    let count: UInt32 = 1 << slotsLg2
    // Multiples of the table's size in bytes: all of them hash to slot 0.
    let offsets = (1...count).map { $0 * 4 * count }
    for offset in offsets { #expect(table.post(offset) == .posted) }
    #expect(table.post(4 * count * (count + 1)) == .full)
    for offset in offsets { #expect(table.post(offset) == .alreadyPosted) }
    #expect(Set(drained(table).values) == Set(offsets))
    #expect(table.post(4 * count * (count + 1)) == .posted)
  }

  @Test func `The round-trip bit is kept, and added to an offset that lacks it`() throws {
    let table = try TestRegion().guestToHost
    let flag = SignalTable.roundTripFlag
    #expect(table.post(8192) == .posted)
    #expect(table.post(8192 | flag) == .alreadyPosted)
    #expect(drained(table).values == [8192 | flag])
    #expect(table.post(8196 | flag) == .posted)
    #expect(table.post(8196) == .alreadyPosted)
    #expect(drained(table).values == [8196 | flag])
  }

  @Test func `The round-trip bit does not change an offset's place`() throws {
    let table = try TestRegion(slotsLg2: 0).guestToHost
    #expect(table.post(8192 | SignalTable.roundTripFlag) == .posted)
    #expect(table.post(8192) == .alreadyPosted)
    #expect(table.post(8196) == .full)
  }

  @Test func `A drain delivers what a sender posted that died before it rang`() throws {
    let table = try TestRegion().guestToHost
    #expect(table.post(8192) == .posted)
    #expect(!table.isInterruptRaised)
    #expect(!table.isEmpty)
    // The next sender finds the offset posted, but the word 0: it rings for the dead one.
    #expect(table.post(8192) == .alreadyPosted)
    #expect(table.raiseInterrupt())
    #expect(drained(table) == (true, [8192]))

    #expect(table.post(8192) == .posted)
    #expect(drained(table) == (false, [8192]))
  }

  @Test func `A drain delivers what a sender posted that died before its peer looked`() throws {
    let table = try TestRegion().guestToHost
    #expect(table.post(8192) == .posted)
    #expect(table.raiseInterrupt())  // and no ring follows
    #expect(table.post(8200) == .posted)
    #expect(!table.raiseInterrupt())
    let (wasRaised, values) = drained(table)
    #expect(wasRaised)
    #expect(Set(values) == [8192, 8200])
  }

  /// The word is exchanged first: what is raised during the scan leads to another.
  @Test func `A drain scans again if the word is raised meanwhile`() throws {
    let table = try TestRegion().guestToHost
    #expect(table.post(8192) == .posted)
    var seen: [UInt32] = []
    let wasRaised = table.drain { value in
      seen.append(value)
      guard value == 8192 else { return }
      // Slot 0 has been passed by now.
      #expect(table.post(4096 * 4) == .posted)
      #expect(table.raiseInterrupt())
    }
    #expect(wasRaised)
    #expect(seen == [8192, 4096 * 4])
    #expect(!table.isInterruptRaised && table.isEmpty)
  }

  @Test func `A sender that posts in the midst of every scan does not keep the receiver`() throws {
    let table = try TestRegion(slotsLg2: 0).guestToHost
    #expect(table.post(8192) == .posted)
    #expect(table.raiseInterrupt())
    var seen = 0
    let wasRaised = table.drain { _ in
      seen += 1
      #expect(table.post(8192) == .posted)
      // No interrupt was in flight: this sender rings, and the receiver comes again.
      #expect(table.raiseInterrupt())
    }
    #expect(wasRaised)
    #expect((1...16).contains(seen))
    #expect(!table.isEmpty && table.isInterruptRaised)
  }

  @Test func `Rubbish in the slots is handed over as it is, and makes room`() throws {
    let region = try TestRegion(slotsLg2: 1)
    let slots = region.geometry.guestToHost.tableOffset
    try poke(region, slots, 0xffff_ffff)
    try poke(region, slots + 4, 2)
    #expect(region.guestToHost.post(8192) == .full)
    #expect(Set(drained(region.guestToHost).values) == [0xffff_ffff, 2])
    #expect(region.guestToHost.post(8192) == .posted)
  }

  @Test func `Nothing is trusted of the header in the memory`() throws {
    let region = try TestRegion()
    let table = region.guestToHost
    for offset in stride(from: UInt32(0), to: 4096, by: 4) {
      try poke(region, offset, 0xffff_ffff)
    }
    #expect(table.post(8192) == .posted)
    #expect(drained(table) == (false, [8192]))
    #expect(region.signal.inject(to: .host))
  }

  @Test func `Posting writes to the table and the word only`() throws {
    let region = try TestRegion(slotsLg2: 0)
    let before = region.bytes(0..<12288)
    _ = region.guestToHost.post(8192)
    _ = region.guestToHost.raiseInterrupt()
    var expected = before
    let table = Int(region.geometry.guestToHost.tableOffset)
    expected.replaceSubrange(table..<table + 4, with: [0, 0x20, 0, 0])
    expected[Int(region.geometry.guestToHost.wordOffset)] = 1
    #expect(region.bytes(0..<12288) == expected)
  }
}
