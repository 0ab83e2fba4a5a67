// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import Testing
import VsocEngine
import VsocProtocol

@testable import VsocStore

@Suite struct JournalTests {
  private let scratch: Scratch

  init() throws {
    scratch = try Scratch()
    _ = try scratch.open()
  }

  private func entries() throws -> [PermissionJournal.Entry]? {
    PermissionJournal.entries(in: try scratch.bytes("permissions"))
  }

  @Test func `the journal is no longer than the most permissions that lived at once`() throws {
    let store = try scratch.open()
    for round in 0..<100 as Range<UInt32> {
      let slots = try (0..<3 as Range<UInt32>).map {
        try #require(try store.record(record(word: 8192 + 4 * $0, round + 1, area: UInt64($0) + 1)))
      }
      #expect(Set(slots).count == 3)
      for slot in slots.shuffled() { try store.forget(slot) }
    }
    #expect(
      try scratch.text("permissions")
        == String(repeating: String(repeating: " ", count: 255) + "\n", count: 3))
  }

  @Test func `a journal that could not be read again is not written`() throws {
    let store = try scratch.open()
    for number in 1...65536 as ClosedRange<UInt64> {
      _ = try store.record(record(word: 8192, 1, area: number))
    }
    #expect(throws: Errno.noSpace) { try store.record(record(word: 8192, 1, area: 65537)) }
    #expect(try entries()?.count == 65536)
  }

  @Test func `lines as they stand in the file`() throws {
    let store = try scratch.open()
    let longest = "日本語日本"
    let all = [
      record("é", 8192..<16384, manager: "man ager", word: 8196, 7, area: 12),
      record(longest, .max - 1 ..< .max, manager: longest, word: .max, .max, area: .max),
      record("x", 0..<1, manager: "A", word: 0, 1, area: 0),
    ]
    let slots = try all.map { try #require(try store.record($0)) }
    try store.markFilled(slots[0])
    let text = try scratch.text("permissions")
    #expect(text.hasPrefix("given %C3%A9 man%20ager 8192 16384 8196 7 12 "))
    #expect(text.utf8.count == 3 * 256 && text.split(separator: "\n").count == 3)
    let bytes = Array(text.utf8)
    let expected = zip(all, [.given, .begun, .begun] as [PermissionJournal.State]).map {
      PermissionJournal.Entry(record: $0, state: $1)
    }
    #expect(PermissionJournal.entries(in: bytes) == expected)
    // What was not written to its end was not recorded; what is zero never came to the disk.
    #expect(PermissionJournal.entries(in: Array(bytes.dropLast())) == Array(expected[..<2]))
    #expect(PermissionJournal.entries(in: []) == [])
    #expect(
      PermissionJournal.entries(
        in: [UInt8](repeating: 0, count: 256) + bytes[..<256]) == [expected[0]])
  }

  @Test(
    "lines that are none",
    arguments: [
      "x", "8192 1", "given", "given a b 1 2 3 4", "given a b 1 2 3 4 5 6", "begun a b 2 2 3 4 5",
      "begun a b 3 2 3 4 5", "given a b 1 2 3 0 5", "given a b 1 2 3 4 18446744073709551616",
      "given a b -1 2 3 4 5", "given a b 1 4294967296 3 4 5", "given a b 1 2 3 4294967296 5",
      "given a b 01 2 3 4 5", "given a b 1 2 3 4 +5", "given A b 1 2 3 4 5",
      "given a B 1 2 3 4 5", "given  a b 1 2 3 4 5", " given a b 1 2 3 4 5",
      "Given a b 1 2 3 4 5", "taken a b 1 2 3 4 5", "begiven a b 1 2 3 4 5",
    ])
  func mistakes(line: String) {
    let good = PermissionJournal.Entry(
      record: record("a", 1..<2, manager: "b", word: 3, 4, area: 5), state: .given
    ).line
    #expect(PermissionJournal.entries(in: Array(good.utf8))?.count == 1)
    let text = line + String(repeating: " ", count: 255 - line.utf8.count) + "\n"
    #expect(PermissionJournal.entries(in: Array((good + text).utf8)) == nil)
  }

  /// The file of an area is filled anew for the next claim of its handle: a line that names it still
  /// would bring that to the place of the one before.
  @Test func `a line that could not be forgotten is written over by its area's next`() throws {
    let path = scratch.store + "/permissions"
    let raw = unsafe open(path, O_RDWR | O_CLOEXEC)
    let journal = PermissionJournal(Descriptor(owning: raw))
    func allow(_ flags: Int32) {
      let other = Descriptor(owning: unsafe open(path, flags | O_CLOEXEC))
      #expect(dup2(other.raw, raw) == raw)
    }
    let first = try journal.record(record(word: 8192, 1, area: 1))
    let second = try journal.record(record(word: 8192, 2, area: 2))
    try journal.markFilled(first)
    try journal.markFilled(second)
    allow(O_RDONLY)
    #expect(throws: Errno.badFileDescriptor) { try journal.forget(first) }
    #expect(throws: Errno.badFileDescriptor) { try journal.record(record(word: 8196, 3, area: 1)) }
    allow(O_RDWR)
    try journal.forget(second)
    #expect(try entries()?.map(\.record) == [record(word: 8192, 1, area: 1)])
    #expect(try journal.record(record(word: 8196, 3, area: 1)) == first)
    #expect(
      try entries()
        == [PermissionJournal.Entry(record: record(word: 8196, 3, area: 1), state: .begun)])
    #expect(try journal.record(record(word: 8200, 4, area: 3)) == second)
    #expect(try entries()?.count == 2)
  }
}
