// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import Testing
import VsocConfiguration
import VsocEngine
import VsocProtocol

@testable import VsocStore

/// States in which a daemon that is killed leaves a store, in the order of its steps. Each must open,
/// with the change either there or not, and with nothing left over.
@Suite struct CrashTests {
  private static let complete = [
    "areas", "layout.json5", "lock", "permissions", "regions", "vsocfs-store",
  ]

  @Test(arguments: 0...10)
  func `making a store`(steps: Int) throws {
    let scratch = try Scratch()
    let all: [() throws -> Void] = [
      { scratch.makeDirectory("") },
      { try scratch.write("lock", "") },
      { try scratch.write(".vsocfs-store", "") },
      { try scratch.write(".vsocfs-store", "vsocfs sto") },
      { scratch.rename(".vsocfs-store", to: "vsocfs-store") },
      { try scratch.write("lock", "4711\n") },
      { scratch.makeDirectory("regions") },
      { try scratch.write(".layout.json5", "{ reg") },
      { try scratch.write("layout.json5", Layout.text(of: [])) },
      { scratch.makeDirectory("areas") },
    ]
    for (index, step) in all[..<steps].enumerated() {
      try step()
      if index == 4 { try scratch.write("vsocfs-store", "vsocfs store, format 1\n") }
    }
    let store = try scratch.open()
    #expect(store.regions == [] && scratch.names() == Self.complete)
    try store.add(region("a"))
  }

  /// A store with regions "a" and "b", not open.
  private static func store() throws -> Scratch {
    let scratch = try Scratch()
    try scratch.open().add(region("a"), region("b"))
    return scratch
  }

  /// Opens the store twice, as the first time may have left something to the second.
  private static func check(_ scratch: Scratch, _ regions: [RegionConfiguration]) throws {
    for _ in 0..<2 {
      do {
        let store = try scratch.open()
        #expect(store.regions == regions)
      }
      #expect(scratch.names() == complete)
      #expect(scratch.names("regions") == regions.map { "\($0.name.encoded).region" }.sorted())
      #expect(try scratch.text("layout.json5") == Layout.text(of: regions))
    }
  }

  @Test(arguments: 0...5)
  func `adding a region`(steps: Int) throws {
    let scratch = try Self.store()
    let regions = [region("a"), region("b"), region("c")]
    let all: [() throws -> Void] = [
      { try scratch.write(".layout.json5", "{ regions: [") },
      { try scratch.write(".layout.json5", Layout.text(of: regions)) },
      { try scratch.write("regions/c.new", "") },
      { scratch.rename("regions/c.new", to: "regions/c.region") },
      {
        try scratch.write("regions/c.region", [UInt8](repeating: 0, count: 12288))
        scratch.rename(".layout.json5", to: "layout.json5")
      },
    ]
    for step in all[..<steps] { try step() }
    try Self.check(scratch, steps == all.count ? regions : Array(regions[..<2]))
  }

  @Test(arguments: 0...4)
  func `destroying a region`(steps: Int) throws {
    let scratch = try Self.store()
    let all: [() throws -> Void] = [
      { try scratch.write("regions/a.gone", "") },
      { scratch.remove("regions/a.region") },
      { try scratch.write(".layout.json5", Layout.text(of: [region("b")])) },
      { scratch.rename(".layout.json5", to: "layout.json5") },
    ]
    for step in all[..<steps] { try step() }
    try Self.check(scratch, steps == 0 ? [region("a"), region("b")] : [region("b")])
  }

  @Test(arguments: [16384, 65536] as [UInt64], 0...5)
  func `changing a size`(size: UInt64, steps: Int) throws {
    let scratch = try Scratch()
    try scratch.open().add(region("a", size: 20480))
    let old = region("a", size: 20480)
    let new = region("a", size: size)
    let header = RegionHeader(name: new.name, geometry: new.geometry)
    func change(_ body: @escaping (borrowing Descriptor) throws(Errno) -> Void) throws {
      try scratch.change("regions/a.region", body)
    }
    let all: [() throws -> Void] = [
      { try scratch.write(".layout.json5", Layout.text(of: [new])) },
      { try change { file throws(Errno) in try file.allocate(size) } },
      { try change { file throws(Errno) in try file.write(header.layoutBytes, at: 0) } },
      { scratch.rename(".layout.json5", to: "layout.json5") },
      { try change { file throws(Errno) in try file.truncate(to: size) } },
    ]
    for step in all[..<steps] { try step() }
    let expected = steps < 4 ? old : new
    try Self.check(scratch, [expected])
    let contents = try scratch.bytes("regions/a.region")
    #expect(contents.count == expected.geometry.size)
    #expect(
      Array(contents[..<76])
        == RegionHeader(name: expected.name, geometry: expected.geometry).layoutBytes)
  }

  @Test func `changing the root's mode`() throws {
    let scratch = try Self.store()
    try scratch.write(".root", "uid 0 gi")
    try Self.check(scratch, [region("a"), region("b")])
  }

  @Test func `a copy of a store with holes in its files`() throws {
    let scratch = try Self.store()
    try scratch.write("regions/a.region", "")
    try scratch.change("regions/a.region") { file throws(Errno) in
      try file.truncate(to: 12288)
    }
    let store = try scratch.open()
    #expect(try store.open(RegionName("a")!).status().allocated >= 12288)
  }
}
