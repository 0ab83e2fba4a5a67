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

  private func permission(_ offset: UInt32, _ value: UInt32) -> PermissionRecord {
    record(manager: "man ager", word: offset, value)
  }

  private func word(_ store: Store, _ offset: UInt32) throws -> UInt32 {
    try store.word(offset, of: "man ager")
  }

  private func set(_ store: Store, _ offset: UInt32, _ value: UInt32) throws {
    try store.setWord(offset, of: "man ager", to: value)
  }

  @Test func `owner words of permissions that died with the daemon are freed`() throws {
    do {
      let store = try scratch.open()
      // Held; recorded but not yet taken; taken by others since; given back.
      _ = try store.record(permission(8192, 7))
      _ = try store.record(permission(8196, 8))
      _ = try store.record(permission(8200, 9))
      let returned = try #require(try store.record(permission(8204, 10)))
      for (offset, value) in [(8192, 7), (8200, 1), (8204, 10), (8208, 7)] as [(UInt32, UInt32)] {
        try set(store, offset, value)
      }
      try set(store, 8204, 0)
      try store.forget(returned)
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
      _ = try store.record(permission(8192, .max))
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
      try store.add(region("other"), region("y", managedBy: "other"))
      for offset in [8188, 8192, 8196] as [UInt32] { try set(store, offset, 1) }
      for line in [
        permission(12288, 1), permission(8193, 1), permission(8188, 1),
        record(manager: "none", word: 8192, 1),
        record("y", manager: "man ager", word: 8192, 1),
        // The region is gone, but its owner word is there.
        record("none", manager: "man ager", word: 8196, 1),
      ] {
        _ = try store.record(line)
      }
    }
    var lines: [String] = []
    let store = try scratch.open { lines.append($0) }
    let words = try [8188, 8192, 8196].map { try word(store, $0) }
    #expect(words == [1, 1, 0])
    #expect(
      lines == [
        #"owner word 12288 of region "man ager" is no word of it: left"#,
        #"owner word 8193 of region "man ager" is no word of it: left"#,
        #"owner word 8188 of region "man ager" is no word of it: left"#,
        #"a permission of region "none", which there is not, has ended"#,
        #"owner word 8192 of region "man ager" says nothing of region "y", "#
          + "which it does not manage: left",
        #"a permission for region "none", which there is not, has ended"#,
        #"owner word 8196 of region "man ager" held 1 still: freed"#,
      ])
  }

  @Test func `a program that has the manager mapped still sees the word freed`() throws {
    let mapping: SharedMapping
    do {
      let store = try scratch.open()
      _ = try store.record(permission(8192, 5))
      try set(store, 8192, 5)
      let file = try store.open(RegionName("man ager")!)
      mapping = try SharedMapping(descriptor: file.raw, size: 12288)
    }
    _ = try scratch.open()
    let window = unsafe RegionWindow(base: mapping.base, size: 12288)
    #expect(try window.word(at: 8192).load() == 0)
  }
}
