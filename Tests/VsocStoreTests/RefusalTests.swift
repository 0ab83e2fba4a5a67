// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import Testing
import VsocConfiguration
import VsocEngine
import VsocProtocol

@testable import VsocStore

@Suite struct ForeignDirectoryTests {
  @Test(
    "what a directory may hold that is no store",
    arguments: [
      (["notes"], "notes"), (["b", "a"], "a"), ([".hidden"], ".hidden"),
      (["lock", "x"], "x"), (["layout.json5"], "layout.json5"), (["regions"], "regions"),
      (["lock", "layout.json5", "regions"], "layout.json5"),
      // With something in it.
      (["lock"], "lock"),
    ])
  func foreign(names: [String], named: String) throws {
    let scratch = try Scratch()
    scratch.makeDirectory("")
    for name in names { try scratch.write(name, "mine\n") }
    #expect(scratch.refusal() == "\(named): the directory is neither a store nor empty")
    #expect(scratch.names() == names.sorted())
    for name in names { #expect(try scratch.text(name) == "mine\n") }
  }
}

/// A way to spoil a store, and what is said of it.
private struct Damage: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let spoil: @Sendable (Scratch) throws -> Void

  init(_ message: String, _ spoil: @escaping @Sendable (Scratch) throws -> Void) {
    testDescription = message
    self.spoil = spoil
  }

  static func text(_ name: String, _ text: String, _ message: String) -> Damage {
    Damage("\(name): \(message)") { try $0.write(name, text) }
  }

  /// Permissions of region "b" for which there are files.
  static func areas(_ lines: (UInt32, UInt32, UInt64)...) -> Damage {
    Damage("permissions: damaged: has two lines for one area") { scratch in
      var text = ""
      for (begin, end, number) in lines {
        let one = record("b", begin..<end, manager: "a", word: 8192, 7, area: number)
        text += PermissionJournal.Entry(record: one, state: .given).line
        try scratch.write("areas/\(number)", [UInt8](repeating: 1, count: Int(end - begin)))
      }
      try scratch.write("permissions", text)
    }
  }
}

@Suite struct DamagedStoreTests {
  private static let notFirstLine = "damaged: is not the first line of a store"
  private static let noPermission = "damaged: has a line that is no permission"
  private static let noRoot = "damaged: is not owner and mode of a directory"

  private static let damages: [Damage] = [
    .text("vsocfs-store", "", notFirstLine),
    .text("vsocfs-store", "vsocfs store, format 1", notFirstLine),
    .text("vsocfs-store", "vsocfs store, format x\n", notFirstLine),
    .text(
      "vsocfs-store", "vsocfs store, format 2\n",
      "the store has format 2, but this vsocfs knows format 1 only"),
    Damage("vsocfs-store: damaged: is not UTF-8") { try $0.write("vsocfs-store", [0xff]) },
    Damage(".layout.json5: the directory is neither a store nor empty") {
      $0.remove("vsocfs-store")
    },
    Damage("layout.json5: damaged: is missing") { $0.remove("layout.json5") },
    Damage("layout.json5:1:1: the text ends where a value is expected") {
      try $0.write("layout.json5", "")
    },
    Damage("layout.json5: damaged: is not UTF-8") { try $0.write("layout.json5", [0xff]) },
    Damage("layout.json5: File too large") {
      try $0.change("layout.json5") { file throws(Errno) in try file.truncate(to: 17 << 20) }
    },
    Damage("layout.json5: is a symbolic link") {
      $0.rename("layout.json5", to: "l")
      unsafe symlink("l", $0.store + "/layout.json5")
    },
    Damage("layout.json5: Is a directory") {
      $0.remove("layout.json5")
      $0.makeDirectory("layout.json5")
    },
    Damage("layout.json5: is not a regular file") {
      $0.remove("layout.json5")
      unsafe mkfifo($0.store + "/layout.json5", 0o600)
    },
    Damage("layout.json5: can be written by others") {
      unsafe chmod($0.store + "/layout.json5", 0o620)
    },
    Damage("layout.json5: belongs to user 4711, but the daemon is user \(geteuid())") {
      unsafe chown($0.store + "/layout.json5", 4711, 0)
    },
    Damage("lock: is a symbolic link") {
      $0.rename("lock", to: "l")
      unsafe symlink("l", $0.store + "/lock")
    },
    Damage("regions: damaged: is missing") { $0.rename("regions", to: "r") },
    Damage("regions: Not a directory") {
      $0.rename("regions", to: "r")
      try $0.write("regions", "")
    },
    Damage("regions: Not a directory") {
      $0.rename("regions", to: "r")
      unsafe symlink("r", $0.store + "/regions")
    },
    Damage("regions: can be written by others") { unsafe chmod($0.store + "/regions", 0o777) },
    Damage(#"regions/b.region: damaged: is missing, but layout.json5 has region "b""#) {
      $0.remove("regions/b.region")
    },
    Damage("regions/b.region: damaged: has 12287 bytes, but layout.json5 says 12288") {
      try $0.change("regions/b.region") { file throws(Errno) in try file.truncate(to: 12287) }
    },
    Damage("regions/b.region: is a symbolic link") {
      $0.rename("regions/b.region", to: "b")
      unsafe symlink("../b", $0.store + "/regions/b.region")
    },
    Damage("regions/b.region: can be written by others") {
      unsafe chmod($0.store + "/regions/b.region", 0o606)
    },
    .text("root", "", noRoot), .text("root", "uid 0 gid 0 mode 0755", noRoot),
    .text("root", "uid 0 gid 0 mode 2755\n", noRoot), .text("root", "0 0 0755\n", noRoot),
    .text("permissions", String(repeating: "x", count: 255) + "\n", noPermission),
    .text("permissions", String(repeating: " ", count: 256), noPermission),
    Damage("areas: Not a directory") {
      $0.remove("areas")
      try $0.write("areas", "")
    },
    Damage("areas: Not a directory") {
      $0.rename("areas", to: "r")
      unsafe symlink("r", $0.store + "/areas")
    },
    Damage("areas: can be written by others") { unsafe chmod($0.store + "/areas", 0o777) },
    Damage("areas/3: is a symbolic link") { unsafe symlink("../x", $0.store + "/areas/3") },
    Damage("areas/3: Is a directory") { $0.makeDirectory("areas/3") },
    Damage("areas/3: is not a regular file") { unsafe mkfifo($0.store + "/areas/3", 0o600) },
    Damage("areas/3: can be written by others") {
      try $0.write("areas/3", "x")
      unsafe chmod($0.store + "/areas/3", 0o602)
    },
    // Two files for a page, areas that overlap, one in another, and two for a file.
    .areas((8192, 12288, 1), (8192, 12288, 2)),
    .areas((12288, 20480, 1), (8192, 16384, 2)),
    .areas((8192, 20480, 1), (12288, 16384, 2)),
    .areas((8192, 12288, 1), (12288, 16384, 1)),
  ]

  @Test("a store that is not as it was", arguments: damages)
  private func damage(damage: Damage) throws {
    let scratch = try Scratch()
    try scratch.open().add(region("a"), region("b"))
    try damage.spoil(scratch)
    // What an opening would remove or change is there still after a refusal.
    try? scratch.write("regions/orphan.region", "x")
    try scratch.write(".layout.json5", "x")
    try? scratch.write("areas/4711", "x")
    let before = (
      scratch.names("regions"), try? scratch.text("layout.json5"),
      try? scratch.text("permissions"), scratch.names("areas")
    )
    #expect(scratch.refusal() == damage.testDescription)
    #expect(scratch.names("regions") == before.0)
    #expect(try scratch.text(".layout.json5") == "x")
    #expect((try? scratch.text("layout.json5")) == before.1)
    #expect((try? scratch.text("permissions")) == before.2)
    #expect(scratch.names("areas") == before.3)
  }
}
