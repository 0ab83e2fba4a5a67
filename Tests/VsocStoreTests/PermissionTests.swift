// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import Testing
import VsocConfiguration
import VsocEngine
import VsocProtocol

@testable import VsocStore

@Suite struct PermissionTests {
  private let scratch: Scratch

  init() throws {
    scratch = try Scratch()
    try scratch.open().add(region("man ager"), region("x", managedBy: "man ager"))
  }

  private func permission(
    _ offset: UInt32, _ value: UInt32, manager: String = "man ager"
  ) -> StoredPermission {
    StoredPermission(manager: RegionName(manager)!, ownerOffset: offset, ownedValue: value)
  }

  private func word(_ store: Store, _ offset: UInt32) throws -> UInt32 {
    let bytes = try store.open(RegionName("man ager")!).read(4, at: UInt64(offset))
    return bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  private func set(_ store: Store, _ offset: UInt32, _ value: UInt32) throws {
    try store.open(RegionName("man ager")!).write(
      (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }, at: UInt64(offset))
  }

  @Test func `owner words of permissions that died with the daemon are freed`() throws {
    do {
      let store = try scratch.open()
      // Held; recorded but not yet taken; taken by others since; given back.
      _ = try store.permissions.record(permission(8192, 7))
      _ = try store.permissions.record(permission(8196, 8))
      _ = try store.permissions.record(permission(8200, 9))
      let returned = try store.permissions.record(permission(8204, 10))
      for (offset, value) in [(8192, 7), (8200, 1), (8204, 10), (8208, 7)] as [(UInt32, UInt32)] {
        try set(store, offset, value)
      }
      try set(store, 8204, 0)
      try store.permissions.forget(returned)
      // Another permission took the same word with the same value, and forgot nothing.
      try set(store, 8204, 10)
    }
    var lines: [String] = []
    let store = try scratch.open { lines.append($0) }
    let words = try [8192, 8196, 8200, 8204, 8208].map { try word(store, $0) }
    #expect(words == [0, 0, 1, 10, 7])
    #expect(
      lines == [
        #"owner word 8192 of region "man ager" held 7 still: freed"#,
        #"owner word 8200 of region "man ager" holds 1, not 9: left"#,
      ])
    #expect(try scratch.bytes("permissions") == [])
  }

  @Test func `a word that was freed once is not freed again`() throws {
    do {
      let store = try scratch.open()
      _ = try store.permissions.record(permission(8192, .max))
      try set(store, 8192, .max)
    }
    do {
      let store = try scratch.open()
      #expect(try word(store, 8192) == 0)
      try set(store, 8192, .max)
    }
    var lines: [String] = []
    let store = try scratch.open { lines.append($0) }
    #expect(try word(store, 8192) == .max && lines == [])
  }

  @Test func `what no permission can have left`() throws {
    do {
      let store = try scratch.open()
      _ = try store.permissions.record(permission(12288, 1))
      _ = try store.permissions.record(permission(8193, 1))
      _ = try store.permissions.record(permission(8192, 1, manager: "other"))
    }
    var lines: [String] = []
    _ = try scratch.open { lines.append($0) }
    #expect(
      lines == [
        #"owner word 12288 of region "man ager" is no word of it: left"#,
        #"owner word 8193 of region "man ager" is no word of it: left"#,
        #"a permission of region "other", which there is not, has ended"#,
      ])
  }

  @Test func `a program that has the manager mapped still sees the word freed`() throws {
    let mapping: SharedMapping
    do {
      let store = try scratch.open()
      _ = try store.permissions.record(permission(8192, 5))
      try set(store, 8192, 5)
      let file = try store.open(RegionName("man ager")!)
      mapping = try SharedMapping(descriptor: file.raw, size: 12288)
    }
    _ = try scratch.open()
    let window = unsafe RegionWindow(base: mapping.base, size: 12288)
    #expect(try window.word(at: 8192).load() == 0)
  }

  @Test func `the journal is no longer than the most permissions that lived at once`() throws {
    let store = try scratch.open()
    for round in 0..<100 as Range<UInt32> {
      let slots = try (0..<3 as Range<UInt32>).map {
        try store.permissions.record(permission(8192 + 4 * $0, round + 1))
      }
      #expect(Set(slots).count == 3)
      for slot in slots.shuffled() { try store.permissions.forget(slot) }
    }
    #expect(
      try scratch.text("permissions")
        == String(repeating: String(repeating: " ", count: 127) + "\n", count: 3))
  }

  @Test func `lines as they stand in the file`() throws {
    let store = try scratch.open()
    let all = [
      permission(8192, 1), permission(.max, .max, manager: "日本語日本"), permission(0, 2, manager: "A"),
    ]
    for one in all { _ = try store.permissions.record(one) }
    let text = try scratch.text("permissions")
    #expect(text.hasPrefix("man%20ager 8192 1 "))
    #expect(text.utf8.count == 3 * 128 && text.split(separator: "\n").count == 3)
    let bytes = Array(text.utf8)
    #expect(PermissionJournal.permissions(in: bytes) == all)
    // What was not written to its end was not recorded; what is zero never came to the disk.
    #expect(PermissionJournal.permissions(in: Array(bytes.dropLast())) == Array(all[..<2]))
    #expect(PermissionJournal.permissions(in: []) == [])
    #expect(
      PermissionJournal.permissions(
        in: [UInt8](repeating: 0, count: 128) + bytes[..<128]) == [all[0]])
  }

  @Test(
    "lines that are none",
    arguments: ["x", "a 1", "a 1 2 3", "a -1 2", "a 1 4294967296", "a  1 2", " a 1 2", "A 1 2"])
  func mistakes(line: String) {
    let text = line + String(repeating: " ", count: 127 - line.utf8.count) + "\n"
    #expect(PermissionJournal.permissions(in: Array(text.utf8)) == nil)
  }
}
