// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// Pages that a client takes out of a store's files, where there is no room for others.
  @Suite(OnlyInMode(.passthrough)) struct FullDiskAttacks {
    private func withSmallStore(
      _ layout: String, _ body: (MountedDaemon) throws -> Void
    ) throws {
      let directory = try TemporaryDirectory()
      let disk = directory.path + "/disk"
      unsafe mkdir(disk, 0o700)
      guard unsafe mount("none", disk, "tmpfs", 0, "size=16m") == 0 else {
        throw HarnessError("tmpfs: errno \(errno)")
      }
      try withLayout(layout, ["-o", "mode=0666", "--store", disk + "/store"]) { mount in
        mount.expectedLogLines = ["cannot be had (SIGBUS)"]
        try body(mount)
      }
    }

    private func count(_ line: String, in mount: MountedDaemon) -> Int {
      mount.log.split(separator: "\n").filter { $0.contains(line) }.count
    }

    @Test func `a region's file`() throws {
      try withSmallStore(HostileLayout.text()) { mount in
        let attack = try mount.attack("punch", mount("own/data"), "0x2000", "12", mount("fill"))
        defer { attack.kill() }
        #expect(try attack.line() == "full")
        func expect(_ answer: String, _ command: String) throws {
          try attack.send(line: command)
          #expect(try attack.line() == answer, "\(command)")
        }
        for command in ["look 0x2000", "look 0xf000", "write 0x3000", "ring"] {
          try expect("EIO", command)
        }
        #expect(count(#"region "own""#, in: mount) == 1, "\(mount.log)")
        try mount.victimRings()
        // With room, and without its users, it is as good as new.
        attack.kill()
        let client = try mount.client()
        try eventually("nobody uses it") { try client("rmdir", mount("fill")) == "0" }
        try eventually("it is mapped anew") {
          let fd = try client.open(mount("own/data"))
          defer { _ = try? client("close", fd) }
          return try client("send", fd) == "0"
        }
        #expect(count(#"region "own""#, in: mount) == 1, "\(mount.log)")
      }
    }

    /// That is his alone.
    @Test func `an area's file`() throws {
      let layout = HostileLayout.text(
        """
        { name: "manager", size: "64K", mode: "0666" },
        { name: "buffers", size: "64K", managed_by: "manager", mode: "0666" },
        """)
      try withSmallStore(layout) { mount in
        let client = try mount.client()
        let other = Claim(begin: 0xe000, end: 0x10000, owner: 0x2100)
        let fd = try client.hold(mount, other)
        let attack = try mount.attack(
          "punch", mount("buffers/data"), "0", "12", mount("fill"), "12")
        defer { attack.kill() }
        #expect(try attack.line() == "full")
        for _ in 0..<2 {
          try attack.send(line: "look 0x2000")
          #expect(try attack.line() == "EIO")
        }
        #expect(count(#"area of region "buffers" (8192..<57344)"#, in: mount) == 1, "\(mount.log)")
        #expect(try client("cond-wait", fd, "0xe000", "1") == "0 wakes=0")
        #expect(try client("send", fd) == "0")
        try mount.victimRings()
        attack.kill()
        try eventually("his area is given back") {
          try mount.read("buffers/permissions").split(separator: "\n").count == 1
        }
      }
    }
  }
}
