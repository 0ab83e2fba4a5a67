// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocConfiguration
import VsocEngine
import VsocProtocol

@testable import VsocStore

@Suite struct ChangeTests {
  @Test func `a new region's file is fresh memory`() throws {
    let scratch = try Scratch()
    let store = try scratch.open()
    try store.add(region("manager"), region("buffers", size: 1 << 20, managedBy: "manager"))
    let header = RegionHeader(
      name: RegionName("buffers")!, geometry: region("buffers", size: 1 << 20).geometry,
      managedBy: 1)
    let expected = try TestRegion(header.geometry)
    header.write(to: expected.window)
    #expect(try store.contents("buffers") == expected.bytes(0..<1 << 20))
    #expect(scratch.mode("regions/buffers.region") == 0o600)
    let status = try store.open(RegionName("buffers")!).status()
    #expect(status.allocated >= 1 << 20)
  }

  @Test func `a name is given once`() throws {
    let scratch = try Scratch()
    let store = try scratch.open()
    try store.add(region("a"))
    #expect(throws: Errno.fileExists) { try store.add(region("b"), region("a")) }
    #expect(throws: Errno.fileExists) { try store.add(region("b"), region("b")) }
    #expect(store.names == ["a"])
  }

  @Test func `what there is not`() throws {
    let scratch = try Scratch()
    let store = try scratch.open()
    #expect(throws: Errno.noSuchFileOrDirectory) { try store.remove("a") }
    #expect(throws: Errno.noSuchFileOrDirectory) { try store.resize("a", to: 65536) }
    #expect(throws: Errno.noSuchFileOrDirectory) { _ = try store.open(RegionName("a")!) }
    try store.keepAccess(of: [region("a")])
    #expect(store.regions == [])
  }

  @Test func `a region is destroyed, and another of its name is fresh`() throws {
    let scratch = try Scratch()
    let store = try scratch.open()
    try store.add(region("a"), region("b"))
    let file = try store.open(RegionName("a")!)
    try file.write([1, 2, 3], at: 8192)
    try store.remove("a")
    #expect(store.names == ["b"] && scratch.names("regions") == ["b.region"])
    // Whoever has it open or mapped keeps it.
    #expect(try file.read(3, at: 8192) == [1, 2, 3])
    try store.add(region("a", size: 65536))
    #expect(store.names == ["b", "a"])
    #expect(try store.contents("a")[8192...].allSatisfy { $0 == 0 })
    #expect(try store.contents("a").count == 65536)
  }

  @Test func `contents survive byte by byte`() throws {
    let scratch = try Scratch()
    var random = SplitMix(state: 1)
    let bytes = (0..<65536).map { _ in UInt8.random(in: 0...255, using: &random) }
    do {
      let store = try scratch.open()
      try store.add(region("a", size: 65536))
      try store.open(RegionName("a")!).write(bytes, at: 0)
    }
    #expect(try scratch.open().contents("a") == bytes)
  }

  @Test func `owners and modes`() throws {
    let scratch = try Scratch()
    do {
      let store = try scratch.open()
      try store.add(region("a"), region("b"))
      var changed = region("b", size: 65536, mode: 0o600)
      changed.host = EndAccess(uid: 7, gid: 8, mode: 0o444)
      try store.keepAccess(of: [changed])
      try store.setRoot(RootAccess(uid: 0, gid: 0, mode: 0o755))
      try store.setRoot(RootAccess(uid: 0, gid: 0, mode: 0o007))
    }
    var expected = region("b", mode: 0o600)
    expected.host = EndAccess(uid: 7, gid: 8, mode: 0o444)
    let store = try scratch.open()
    #expect(store.regions == [region("a"), expected])
    #expect(store.root == RootAccess(uid: 0, gid: 0, mode: 0o007))
  }

  @Test(arguments: [12288, 16384, 1 << 20, 20480] as [UInt64])
  func `a change of size keeps what fits`(size: UInt64) throws {
    let scratch = try Scratch()
    let written = [UInt8](repeating: 0xa5, count: 20480 - 8192)
    do {
      let store = try scratch.open()
      try store.add(region("x"), region("a", size: 20480))
      try store.open(RegionName("a")!).write(written, at: 8192)
      try store.resize("a", to: size)
    }
    let store = try scratch.open()
    #expect(store.regions == [region("x"), region("a", size: size)])
    let contents = try store.contents("a")
    #expect(contents.count == size)
    let kept = min(Int(size), 20480)
    #expect(contents[8192..<kept].allSatisfy { $0 == 0xa5 })
    #expect(contents[kept...].allSatisfy { $0 == 0 })
    let header = RegionHeader(
      name: RegionName("a")!, geometry: region("a", size: size).geometry)
    #expect(Array(contents[..<76]) == header.layoutBytes)
    #expect(try store.open(RegionName("a")!).status().allocated >= size)
  }

  @Test func `a manager's index in the headers is the one of this start`() throws {
    let scratch = try Scratch()
    do {
      let store = try scratch.open()
      try store.add(
        region("a"), region("manager"), region("x", managedBy: "manager"),
        region("y", managedBy: "manager"))
      #expect(try store.contents("x")[72] == 2)
      // A client has written over the header of one: that is the client's.
      try store.open(RegionName("y")!).write([0x55], at: 20)
      try store.remove("a")
      #expect(try store.contents("x")[72] == 2)
    }
    let store = try scratch.open()
    #expect(try store.contents("x")[72..<76] == [1, 0, 0, 0])
    #expect(try store.contents("y")[72..<76] == [2, 0, 0, 0])
    #expect(try store.contents("y")[20] == 0x55)
  }
}

@Suite struct NameTests {
  @Test(
    "names that files must tell apart",
    arguments: [
      ("a", "a"), ("A", "%41"), ("a.b-c_9", "a.b-c_9"), ("a b", "a%20b"), ("%41", "%2541"),
      ("a.region", "a.region"), ("a.new", "a.new"), ("a.gone", "a.gone"), ("é", "%C3%A9"),
      ("e\u{301}", "e%CC%81"), ("\u{1}\n", "%01%0A"), ("lost+found", "lost%2Bfound"),
      ("-o", "-o"), ("日本語日本", "%E6%97%A5%E6%9C%AC%E8%AA%9E%E6%97%A5%E6%9C%AC"),
    ])
  func encoding(name: String, encoded: String) throws {
    let region = try #require(RegionName(name))
    #expect(region.encoded == encoded)
    for kind in StoredName.Kind.allCases {
      let stored = StoredName(region, kind)
      #expect(stored.file == "\(encoded).\(kind)")
      #expect(StoredName(file: stored.file) == stored)
    }
  }

  @Test(
    "files that are no region's",
    arguments: [
      "", "a", ".region", "A.region", "%61.region", "%4a.region", "%4.region", "%.region",
      "%zz.region", "%+1.region", "..region", ".a.region", "a/b.region", "%2Fa.region",
      "%00.region", "%FF.region", "%2Ea.region", "a b.region", "0123456789012345.region",
      "a.Region", "a.region~", "a.regions",
    ])
  func others(file: String) {
    #expect(StoredName(file: file) == nil)
  }

  @Test func `any name has a file of its own, also where case is of no meaning`() {
    var random = SplitMix(state: 7)
    var files: [String: RegionName] = [:]
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 1...4, using: &random)).map { _ in
        UInt8.random(in: 0...127, using: &random)
      }
      guard let name = RegionName(String(decoding: bytes, as: UTF8.self)) else { continue }
      #expect(StoredName(file: StoredName(name, .region).file)?.region == name)
      let other = files.updateValue(name, forKey: name.encoded.lowercased())
      #expect(other == nil || other == name)
    }
  }

  @Test func `regions with all kinds of names`() throws {
    let scratch = try Scratch()
    let names = ["a", "A", "a.new", "%41", "a b", "é", "e\u{301}", "日本語日本", "lost+found", "\n"]
    let regions = names.map { region($0) }
    try scratch.open().add(regions, RegionHeader.headers(of: regions))
    let store = try scratch.open()
    #expect(store.regions == regions)
    #expect(scratch.names("regions").count == names.count)
    for name in names { try store.remove(name) }
    #expect(scratch.names("regions") == [])
    #expect(try Layout.text(of: []) == scratch.text("layout.json5"))
  }
}
