// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import Testing
import VsocConfiguration
import VsocEngine
import VsocProtocol

@testable import VsocStore

@Suite struct PopulatingTests {
  @Test func `regions that are not there are made, after those that are`() throws {
    let scratch = try Scratch()
    let requested = [
      region("new"), region("manager"), region("y", managedBy: "x"),
      region("x", managedBy: "manager"),
    ]
    let store = try scratch.open()
    try store.add(region("old"), region("manager"))
    try store.populate(requested, sizeCap: nil)
    #expect(store.names == ["old", "manager", "new", "y", "x"])
    #expect(try store.contents("y")[72] == 5 && store.contents("x")[72] == 2)
    let before = store.regions
    try store.populate(requested, sizeCap: nil)
    #expect(store.regions == before)
  }

  @Test func `what was changed while a mount lasted is kept`() throws {
    let scratch = try Scratch()
    let store = try scratch.open()
    let changed = region("a", size: 65536, mode: 0o600)
    try store.add(changed)
    var lines: [String] = []
    try store.populate([region("a")], sizeCap: nil) { lines.append($0) }
    #expect(store.regions == [changed])
    #expect(lines == [#"region "a" keeps the 64K that it has in the store"#])
  }

  @Test(
    "what cannot be changed",
    arguments: [
      (region("a", nodesLg2: 3), "nodes_lg2.guest_to_host: is 6 in the store, but 3 is asked for"),
      (region("a", version: 2), "current_version: is 0 in the store, but 2 is asked for"),
      (
        region("a", managedBy: "m"),
        #"managed_by: is null in the store, but "m" is asked for"#
      ),
    ])
  func mismatch(requested: RegionConfiguration, message: String) throws {
    let scratch = try Scratch()
    let store = try scratch.open()
    try store.add(region("a"), region("m"))
    let error = #expect(throws: ConfigurationError.self) {
      try store.populate([region("new"), requested], sizeCap: nil)
    }
    #expect(error?.description == "\(scratch.store)/layout.json5: region \"a\": \(message)")
    #expect(store.names == ["a", "m"])
  }

  @Test func `the cap holds for all of them`() throws {
    let scratch = try Scratch()
    let store = try scratch.open()
    try store.add(region("a"))
    let error = #expect(throws: ConfigurationError.self) {
      try store.populate([region("a"), region("b")], sizeCap: 20480)
    }
    #expect(
      error?.description
        == "-o size: 20K is less than the 24K of the regions, those in the store included")
    #expect(store.names == ["a"])
    try store.populate([region("a"), region("b")], sizeCap: 24576)
    #expect(throws: ConfigurationError.self) { try store.populate([], sizeCap: 20480) }
  }
}
