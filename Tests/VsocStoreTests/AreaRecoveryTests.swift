// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import Testing
import VsocConfiguration
import VsocEngine
import VsocProtocol

@testable import VsocStore

/// What a kill at any moment of a permission's life leaves, and what the next start makes of it.
@Suite struct AreaRecoveryTests {
  private static let old = [UInt8](repeating: 0x11, count: 8192)
  private static let new = [UInt8](repeating: 0x22, count: 8192)
  private static let mixed = Array(new[..<4096] + old[..<4096])
  private static let other = [UInt8](repeating: 0x33, count: 4096)

  private let scratch: Scratch

  /// Region "x" has two pages, which areas will be of, and a third.
  init() throws {
    scratch = try Scratch()
    let store = try scratch.open()
    try store.add(region("m"), region("x", size: 20480, managedBy: "m"))
    try write(Self.old + Self.other, to: store, at: 8192)
  }

  private func write(
    _ bytes: some Sequence<UInt8>, to store: Store, _ name: String = "x", at offset: UInt64
  ) throws {
    try store.open(RegionName(name)!).write(Array(bytes), at: offset)
  }

  private func leave(_ lines: [(PermissionRecord, PermissionJournal.State)]) throws {
    try scratch.write(
      "permissions", lines.map { PermissionJournal.Entry(record: $0, state: $1).line }.joined())
  }

  /// Opens the store twice, as the first time may have left something to the second.
  private func check(
    _ scratch: Scratch, _ area: [UInt8], _ expected: [String],
    _ location: SourceLocation = #_sourceLocation
  ) throws {
    for isFirst in [true, false] {
      var lines: [String] = []
      let store = try scratch.open { lines.append($0) }
      #expect(
        try Array(store.contents("x")[8192...]) == area + Self.other, sourceLocation: location)
      #expect(try store.word(8192, of: "m") == 0, sourceLocation: location)
      #expect(lines == (isFirst ? expected : []), sourceLocation: location)
      #expect(scratch.names("areas") == [], sourceLocation: location)
      #expect(try scratch.bytes("permissions") == [], sourceLocation: location)
    }
  }

  private let broughtBack = #"area 8192-16384 of region "x" was held still: brought back"#
  private let freed = #"owner word 8192 of region "m" held 7 still: freed"#

  @Test(arguments: [true, false])
  func `a permission from its claim to its end`(isBacking: Bool) throws {
    let store = try scratch.open()
    var file: RegionFile? = try store.makeArea(isBacking: isBacking)
    let number = try #require(file).number
    let raw = try #require(file).descriptor.raw
    func fill(_ bytes: some Sequence<UInt8>) throws {
      let path = FilePath("/proc/self/fd/\(raw)")
      let writer = Descriptor(owning: try FileDescriptor.open(path, .readWrite).rawValue)
      try writer.allocate(8192)
      try writer.write(Array(bytes), at: 0)
    }
    func check(_ area: [UInt8], _ lines: [String], at location: SourceLocation = #_sourceLocation)
      throws
    {
      try self.check(scratch.copy(), area, lines, location)
    }
    let permission = record("x", 8192..<16384, word: 8192, 7, area: number)

    // The claim.
    try check(Self.old, [])
    let slot = try #require(try store.record(permission))
    try check(Self.old, [])
    try store.setWord(8192, of: "m", to: 7)
    try check(Self.old, [freed])
    try fill([])
    try check(Self.old, [freed])
    try fill(Self.old[..<4096])
    try check(Self.old, [freed])
    try fill(Self.old)
    try check(Self.old, [freed])
    try store.markFilled(slot)
    try check(Self.old, [broughtBack, freed])

    // The client's stores.
    try fill(Self.new[..<4096])
    try check(Self.mixed, [broughtBack, freed])
    try fill(Self.new)
    try check(Self.new, [broughtBack, freed])

    // The end.
    try write(Self.new[..<4096], to: store, at: 8192)
    try check(Self.new, [broughtBack, freed])
    try write(Self.new, to: store, at: 8192)
    try check(Self.new, [broughtBack, freed])
    try store.setWord(8192, of: "m", to: 0)
    try check(Self.new, [broughtBack])
    try store.forget(slot)
    try check(Self.new, [])
    file = nil
    #expect(scratch.names("areas") == [])
    try check(Self.new, [])
  }

  /// Steps of the start itself, which is killed after each.
  @Test(arguments: 0...5)
  func `a recovery`(steps: Int) throws {
    try leave([(record("x", 8192..<16384, word: 8192, 7, area: 3), .given)])
    try scratch.write("areas/3", Self.new)
    try scratch.change("regions/m.region") { file throws(Errno) in try file.write([7], at: 8192) }
    func toRegion(_ name: String, _ bytes: [UInt8], at offset: UInt64 = 8192) throws {
      try scratch.change("regions/\(name).region") { file throws(Errno) in
        try file.write(bytes, at: offset)
      }
    }
    let all: [() throws -> Void] = [
      { try toRegion("x", Array(Self.new[..<4096])) },
      { try toRegion("x", Self.new) },
      { try toRegion("m", [0]) },
      { try scratch.write("permissions", "") },
      { scratch.remove("areas/3") },
    ]
    for step in all[..<steps] { try step() }
    try check(
      scratch, Self.new, (steps < 4 ? [broughtBack] : []) + (steps < 3 ? [freed] : []))
  }

  /// An area has the same size with each permission of its handle.
  @Test func `a claim with a file that was used before`() throws {
    let store = try scratch.open()
    let file = try store.makeArea(isBacking: false)
    let first = try #require(
      try store.record(record("x", 8192..<12288, word: 8192, 7, area: file.number)))
    try file.descriptor.write(Array(Self.new[..<4096]), at: 0)
    try store.markFilled(first)
    try write(Self.new[..<4096], to: store, at: 8192)
    try store.forget(first)
    try file.descriptor.truncate(to: 0)
    let second = try #require(
      try store.record(record("x", 12288..<16384, word: 8192, 7, area: file.number)))
    try file.descriptor.allocate(4096)
    try check(scratch.copy(), Self.mixed, [])
    try file.descriptor.write(Array(Self.old[..<4096]), at: 0)
    try store.markFilled(second)
    try check(
      scratch.copy(), Self.mixed,
      [#"area 12288-16384 of region "x" was held still: brought back"#])
  }

  @Test(arguments: [nil, 0, 4096, 8191, 8193] as [Int?])
  func `a file that is not of the area's size`(size: Int?) throws {
    try leave([(record("x", 8192..<16384, word: 8192, 7, area: 3), .given)])
    if let size { try scratch.write("areas/3", [UInt8](repeating: 0x22, count: size)) }
    try check(
      scratch, Self.old,
      [
        #"area 8192-16384 of region "x" has no file \#(scratch.store)/areas/3 of its size: left"#
      ])
  }

  @Test func `an area larger than what is copied at once`() throws {
    let store = try scratch.open()
    try store.add(region("big", size: 4 << 20, managedBy: "m"))
    let size: UInt32 = (3 << 20) + 4096
    let bytes = (0..<Int(size)).map { UInt8(truncatingIfNeeded: $0 / 4096 &* 7 &+ $0) }
    let copy = try scratch.copy()
    try copy.write("areas/9", bytes)
    try copy.write(
      "permissions",
      PermissionJournal.Entry(
        record: record("big", 12288..<12288 + size, word: 8192, 7, area: 9), state: .given
      ).line)
    let contents = try copy.open().contents("big")
    #expect(Array(contents[12288..<12288 + Int(size)]) == bytes)
    #expect(contents[8192..<12288].allSatisfy { $0 == 0 })
    #expect(contents[(12288 + Int(size))...].allSatisfy { $0 == 0 })
  }

  @Test(
    "areas that the layout has no place for",
    arguments: [
      ("x", 4096..<12288, #"area 4096-12288 of region "x" is no area of it: left"#),
      ("x", 16384..<24576, #"area 16384-24576 of region "x" is no area of it: left"#),
      ("x", 8196..<12292, #"area 8196-12292 of region "x" is no area of it: left"#),
      ("x", 8192..<12292, #"area 8192-12292 of region "x" is no area of it: left"#),
      ("none", 8192..<16384, #"a permission for region "none", which there is not, has ended"#),
    ] as [(String, Range<UInt32>, String)])
  func elsewhere(name: String, area: Range<UInt32>, message: String) throws {
    try leave([(record(name, area, word: 8192, 7, area: 3), .given)])
    try scratch.write("areas/3", [UInt8](repeating: 0x22, count: area.count))
    try check(scratch, Self.old, [message])
  }

  /// What somebody has edited in the layout does not cost the region's contents.
  @Test func `an area of a region that has another manager now`() throws {
    try leave([(record("x", 8192..<16384, manager: "x", word: 8192, 7, area: 3), .given)])
    try scratch.write("areas/3", Self.new)
    try check(
      scratch, Self.new,
      [
        broughtBack,
        #"owner word 8192 of region "x" says nothing of region "x", which it does not manage: left"#,
      ])
  }

  /// Nothing came of some of them, or nothing was left.
  @Test func `lines for one area of which one counts`() throws {
    try leave([
      (record("x", 8192..<16384, word: 8192, 7, area: 1), .given),
      (record("x", 8192..<16384, word: 8192, 7, area: 2), .begun),
      (record("x", 12288..<16384, word: 8192, 7, area: 3), .given),
      (record("x", 12288..<20480, word: 8192, 7, area: 4), .given),
      (record("x", 8192..<16384, word: 8192, 7, area: 1), .begun),
    ])
    try scratch.write("areas/1", Self.new)
    try scratch.write("areas/2", Self.old)
    try scratch.write("areas/4", "")
    let path = "\(scratch.store)/areas"
    try check(
      scratch, Self.new,
      [
        broughtBack,
        #"area 12288-16384 of region "x" has no file \#(path)/3 of its size: left"#,
        #"area 12288-20480 of region "x" has no file \#(path)/4 of its size: left"#,
      ])
  }

  @Test func `areas that touch`() throws {
    try leave([
      (record("x", 12288..<16384, word: 8192, 7, area: 2), .given),
      (record("x", 8192..<12288, word: 8196, 7, area: 1), .given),
    ])
    for number in 1...2 { try scratch.write("areas/\(number)", Array(Self.new[..<4096])) }
    try check(
      scratch, Self.new,
      [
        #"area 12288-16384 of region "x" was held still: brought back"#,
        #"area 8192-12288 of region "x" was held still: brought back"#,
      ])
  }

  /// The owner word of an area of "y" is in an area of "x", and so in that one's file.
  @Test func `a manager that is managed itself`() throws {
    do {
      let store = try scratch.open()
      try store.add(region("y", managedBy: "x"))
    }
    try leave([
      (record("y", 8192..<12288, manager: "x", word: 8196, 5, area: 1), .given),
      (record("x", 8192..<16384, word: 8192, 7, area: 2), .given),
    ])
    try scratch.write("areas/1", Self.other)
    var bytes = Self.new
    bytes.replaceSubrange(4..<8, with: [5, 0, 0, 0])
    try scratch.write("areas/2", bytes)
    bytes.replaceSubrange(4..<8, with: [0, 0, 0, 0])
    try check(
      scratch, bytes,
      [
        #"area 8192-12288 of region "y" was held still: brought back"#, broughtBack,
        #"owner word 8196 of region "x" held 5 still: freed"#,
      ])
    #expect(try Array(scratch.open().contents("y")[8192...]) == Self.other)
  }

  /// Whoever outlived the daemon keeps what he has mapped, and the region is others'.
  @Test func `a client that maps its area still`() throws {
    try leave([(record("x", 8192..<16384, word: 8192, 7, area: 3), .given)])
    try scratch.write("areas/3", Self.new)
    var mapping: SharedMapping?
    try scratch.change("areas/3") { file throws(Errno) in
      mapping = try SharedMapping(descriptor: file.raw, size: 8192)
    }
    let store = try scratch.open()
    let window = unsafe RegionWindow(base: try #require(mapping).base, size: 8192)
    try store.setWord(8192, of: "x", to: 1)
    #expect(try window.word(at: 0).load() == 0x2222_2222)
    #expect(try store.word(8196, of: "x") == 0x2222_2222)
  }
}
