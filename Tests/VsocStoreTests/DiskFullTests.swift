// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import Testing
import VsocConfiguration
import VsocEngine
import VsocProtocol

@testable import VsocStore

@Suite(.enabled(if: geteuid() == 0, "mounts a small file system"))
struct DiskFullTests {
  private let scratch: Scratch

  init() throws {
    scratch = try Scratch()
    try scratch.mountDisk(bytes: 1 << 20)
  }

  /// All names, and what of the disk is left.
  private var state: [String] {
    scratch.names() + scratch.names("regions") + ["\(scratch.freeBytes)"]
  }

  /// Takes what is left of the disk.
  private func fill() throws {
    try scratch.write("ballast", "")
    try scratch.change("ballast") { file throws(Errno) in
      try file.allocate(scratch.freeBytes)
    }
    #expect(scratch.freeBytes == 0)
  }

  @Test func `a region that does not fit leaves nothing`() throws {
    do {
      let store = try scratch.open()
      try store.add(region("a"))
      let before = state
      #expect(throws: Errno.noSpace) { try store.add(region("b", size: 1 << 20)) }
      #expect(state == before)
      // Two, of which the first would fit.
      #expect(throws: Errno.noSpace) {
        try store.add(region("b", size: 512 << 10), region("c", size: 512 << 10))
      }
      #expect(state == before && store.names == ["a"])
      try store.add(region("b", size: 512 << 10))
    }
    #expect(try scratch.open().names == ["a", "b"])
  }

  @Test func `a region that does not grow keeps its size`() throws {
    do {
      let store = try scratch.open()
      try store.add(region("a", size: 65536))
      let before = state
      #expect(throws: Errno.noSpace) { try store.resize("a", to: 1 << 20) }
      #expect(state == before)
      #expect(try store.contents("a").count == 65536)
      try store.resize("a", to: 512 << 10)
    }
    #expect(try scratch.open().regions == [region("a", size: 512 << 10)])
  }

  @Test func `nothing changes on a full disk, but regions can be destroyed`() throws {
    do {
      let store = try scratch.open()
      try store.add(region("a", size: 32768), region("b"))
      try fill()
      let before = state
      #expect(throws: Errno.noSpace) { try store.add(region("c")) }
      #expect(throws: Errno.noSpace) { try store.resize("a", to: 65536) }
      #expect(throws: Errno.noSpace) { try store.keepAccess(of: [region("b", mode: 0o600)]) }
      #expect(throws: Errno.noSpace) { try store.setRoot(RootAccess(uid: 0, gid: 0, mode: 0)) }
      #expect(state == before && store.root == nil && store.names == ["a", "b"])
      try store.remove("a")
      #expect(scratch.freeBytes >= 32768)
      try store.add(region("c"))
    }
    #expect(try scratch.open().names == ["b", "c"])
  }

  @Test func `a region destroyed while not even the layout can be written`() throws {
    do {
      let store = try scratch.open()
      try store.add(region("a", size: 32768), region("b"))
      try fill()
      // Somebody keeps the memory of the region.
      let file = try store.open(RegionName("a")!)
      try store.remove("a")
      #expect(scratch.names("regions") == ["a.gone", "b.region"])
      #expect(throws: Errno.noSpace) { try store.add(region("a")) }
      #expect(store.names == ["b"])
      _ = file
    }
    do {
      let store = try scratch.open()
      #expect(store.names == ["b"] && scratch.names("regions") == ["b.region"])
      try store.add(region("a"))
    }
    #expect(try scratch.open().names == ["b", "a"])
  }

  @Test func `a store that cannot be made is made when there is room`() throws {
    // Everything else is in the last page that the disk has.
    try scratch.write("vsocfs-store", "vsocfs store, format 1\n")
    try fill()
    #expect(scratch.refusal() == "lock: No space left on device")
    scratch.remove("ballast")
    #expect(scratch.refusal() == nil)
  }

  @Test func `permissions that cannot be written down`() throws {
    let store = try scratch.open()
    try fill()
    #expect(throws: Errno.noSpace) { try store.record(record(word: 8192, 1)) }
    #expect(try scratch.bytes("permissions") == [])
    scratch.remove("ballast")
    let slot = try #require(try store.record(record(word: 8192, 1)))
    #expect(try scratch.bytes("permissions").count == 256)
    // What there is room for once has it for good.
    try fill()
    try store.markFilled(slot)
    try store.forget(slot)
    #expect(try store.record(record(word: 8192, 2)) == slot)
  }

  @Test func `an area's file that cannot be made leaves nothing`() throws {
    // The root and the own files are seven.
    let scratch = try Scratch()
    try scratch.mountDisk(bytes: 1 << 20, files: 9)
    let store = try scratch.open()
    var made: [RegionFile] = []
    #expect(throws: Errno.noSpace) {
      while made.count < 9 { try made.append(store.makeArea(isBacking: made.count % 2 == 0)) }
    }
    #expect(!made.isEmpty)
    #expect(scratch.names("areas") == made.map { "\($0.number)" })
    made.removeLast()
    #expect(scratch.names("areas") == made.map { "\($0.number)" })
    try made.append(store.makeArea(isBacking: true))
    #expect(scratch.names("areas").count == made.count)
  }

  @Test func `an area comes back although the disk is full`() throws {
    do {
      let store = try scratch.open()
      try store.add(region("m"), region("x", managedBy: "m"))
    }
    try scratch.write("areas/1", [UInt8](repeating: 7, count: 4096))
    try scratch.write(
      "permissions", PermissionJournal.Entry(record: record(word: 8192, 1), state: .given).line)
    try fill()
    #expect(try scratch.open().contents("x")[8192...].allSatisfy { $0 == 7 })
    #expect(scratch.names("areas") == [])
  }
}
