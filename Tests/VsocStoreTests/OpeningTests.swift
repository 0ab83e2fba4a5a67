// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocConfiguration
import VsocEngine
import VsocProtocol

@testable import VsocStore

private let ownFiles = ["areas", "layout.json5", "lock", "permissions", "regions", "vsocfs-store"]

@Suite struct OpeningTests {
  @Test func `a store is made where there is nothing`() throws {
    let scratch = try Scratch()
    let store = try scratch.open()
    #expect(store.regions == [] && store.root == nil)
    #expect(scratch.names() == ownFiles && scratch.names("regions") == [])
    #expect(try scratch.text("vsocfs-store") == "vsocfs store, format 1\n")
    #expect(try scratch.text("lock") == "\(getpid())\n")
    #expect(scratch.names("areas") == [])
    for name in ["", "areas", "regions"] { #expect(scratch.mode(name) == 0o700) }
    for name in ownFiles where name != "areas" && name != "regions" {
      #expect(scratch.mode(name) == 0o600)
    }
  }

  @Test func `and in a directory that is empty, but for what a file system has in its root`() throws
  {
    let scratch = try Scratch()
    scratch.makeDirectory("")
    _ = try scratch.open()
    #expect(scratch.names() == ownFiles)
    let root = try Scratch()
    root.makeDirectory("")
    root.makeDirectory("lost+found")
    _ = try root.open()
    #expect(root.names() == (ownFiles + ["lost+found"]).sorted())
  }

  @Test func `what is no directory, and what cannot be made`() throws {
    let scratch = try Scratch()
    for (path, problem) in [
      ("/dev/null", "Not a directory"), ("", "No such file or directory"),
      (scratch.path + "/a/b", "No such file or directory"),
    ] {
      let error = #expect(throws: ConfigurationError.self) { try Store(path: path) }
      #expect(error?.description == "\(path): \(problem)")
    }
    #expect(Set(try Directory(path: scratch.path).names()) == [])
  }

  @Test func `everything that was said of regions is there again`() throws {
    let scratch = try Scratch()
    let regions = [
      region("manager", size: 65536), region("input", nodesLg2: 3, version: 7, mode: 0o600),
      region("buffers", size: 1 << 20, managedBy: "manager"),
    ]
    do {
      let store = try scratch.open()
      try store.add(regions[0], regions[1])
      try store.add(regions[2])
      try store.setRoot(RootAccess(uid: 3, gid: 4, mode: 0o710))
      #expect(!store.wasFound(regions[0].name))
    }
    let store = try scratch.open()
    #expect(store.regions == regions)
    #expect(store.root == RootAccess(uid: 3, gid: 4, mode: 0o710))
    #expect(store.wasFound(regions[2].name))
    #expect(try scratch.text("layout.json5") == Layout.text(of: regions))
    #expect(try scratch.text("root") == "uid 3 gid 4 mode 0710\n")
    #expect(scratch.names() == (ownFiles + ["root"]).sorted())
  }

  @Test func `a store that was moved while it is open`() throws {
    let scratch = try Scratch()
    let store = try scratch.open()
    unsafe rename(scratch.store, scratch.path + "/elsewhere")
    try store.add(region("a"))
    unsafe rename(scratch.path + "/elsewhere", scratch.store)
    #expect(scratch.names("regions") == ["a.region"])
  }

  @Test func `a layout that somebody has edited`() throws {
    let scratch = try Scratch()
    try scratch.open().add(region("a"), region("b"))
    try scratch.write("layout.json5", "{regions: [{name: 'b', size: '12K', mode: '0600'}]}")
    var lines: [String] = []
    let store = try scratch.open { lines.append($0) }
    #expect(store.names == ["b"])
    #expect(store.regions[0].guest == EndAccess(uid: geteuid(), gid: getegid(), mode: 0o600))
    #expect(
      lines == ["\(scratch.store)/regions/a.region: removed, as there is no such region"])
  }

  @Test func `files that are not of the store are let be`() throws {
    let scratch = try Scratch()
    try scratch.open().add(region("a"))
    let files = [
      "layout.json5~", "notes", "regions/a.region.bak", "regions/A.region", "regions/x", "areas/x",
      "areas/0", "areas/03", "areas/+3", "areas/3.bak", "areas/18446744073709551616",
    ]
    for file in files { try scratch.write(file, "x") }
    _ = try scratch.open()
    for file in files { #expect(try scratch.text(file) == "x") }
  }
}

extension OpeningTests {
  @Test func `a store from before there were areas`() throws {
    let scratch = try Scratch()
    try scratch.open().add(region("a"))
    scratch.remove("areas")
    #expect(scratch.names() == ownFiles.filter { $0 != "areas" })
    #expect(try scratch.open().names == ["a"])
    #expect(scratch.names() == ownFiles)
  }
}

@Suite struct LockTests {
  @Test func `one at a time`() throws {
    let scratch = try Scratch()
    do {
      let store = try scratch.open()
      #expect(scratch.refusal() == "lock: process \(getpid()) uses the store")
      try scratch.change("lock") { file throws(Errno) in try file.truncate(to: 0) }
      #expect(scratch.refusal() == "lock: another process uses the store")
      try store.add(region("a"))
    }
    #expect(try scratch.open().names == ["a"])
  }

  @Test func `a process that is killed`() throws {
    let scratch = try Scratch()
    _ = try scratch.open()
    let holder = try LockHolder(of: scratch)
    #expect(scratch.refusal() == "lock: process \(holder.pid) uses the store")
    #expect(try scratch.text("lock") == "\(holder.pid)\n")
    holder.kill()
    #expect(scratch.refusal() == nil)
  }

  @Test func `a process that is about to end is waited for`() throws {
    let scratch = try Scratch()
    _ = try scratch.open()
    let holder = try LockHolder(of: scratch)
    // Not at its end, but stopped: it cannot be before the wait begins.
    let pid = holder.pid
    try Thread.start(name: "killer") { kill(pid, SIGKILL) }
    _ = try Store(path: scratch.store, until: .after(seconds: 30))
    #expect(try scratch.text("lock") == "\(getpid())\n")
  }

  /// A guard has the lock longer than its daemon, and then ends.
  @Test func `all processes that have it are waited for`() throws {
    let scratch = try Scratch()
    _ = try scratch.open()
    let gone = try LockHolder(of: scratch)
    gone.kill()
    let holder = try LockHolder(of: scratch)
    try scratch.write("lock", "\(gone.pid)\n\(holder.pid)\n")
    #expect(scratch.refusal() == "lock: process \(holder.pid) uses the store")
    let pid = holder.pid
    try Thread.start(name: "killer") { kill(pid, SIGKILL) }
    _ = try Store(path: scratch.store, until: .after(seconds: 30))
    #expect(try scratch.text("lock") == "\(getpid())\n")
  }

  @Test func `the number of a process that is gone`() throws {
    let scratch = try Scratch()
    _ = try scratch.open()
    let gone = try LockHolder(of: scratch)
    gone.kill()
    let holder = try LockHolder(of: scratch)
    try scratch.write("lock", "\(gone.pid)\n")
    let error = #expect(throws: ConfigurationError.self) {
      try Store(path: scratch.store, until: .after(seconds: 30))
    }
    #expect(error?.problem == "another process uses the store")
    holder.kill()
  }

  @Test func `many that begin with a store at once`() throws {
    let scratch = try Scratch()
    let results = Monitor<[Result<Store, ConfigurationError>]>([])
    let path = scratch.store
    for _ in 0..<8 {
      try Thread.start(name: "opener") {
        let result = Result { () throws(ConfigurationError) in try Store(path: path) }
        results.withLock { $0.append(result) }
      }
    }
    let all = results.wait(until: .after(seconds: 30)) { $0.count == 8 ? $0 : nil }
    let stores = try #require(all).compactMap { try? $0.get() }
    #expect(stores.count == 1)
    results.withLock { $0 = [] }
    try stores[0].add(region("a"))
    #expect(scratch.names() == ownFiles)
  }
}
