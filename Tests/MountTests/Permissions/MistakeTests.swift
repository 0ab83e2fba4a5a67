// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension MountTests {
  /// Every reason for which a claim is refused, and which of two comes first.
  @Suite struct Mistakes {
    private struct Mistake: Sendable {
      let error: String
      let make: @Sendable (inout Claim) -> Void

      init(_ error: String, _ make: @escaping @Sendable (inout Claim) -> Void) {
        self.error = error
        self.make = make
      }
    }

    /// In their order; all of them can be made at once, the last ones first.
    private static let mistakes = [
      Mistake("EINVAL") { $0.end = $0.begin },
      Mistake("ERANGE") { $0.begin -= 0x3000 },
      Mistake("EINVAL") { $0.begin += 8 },
      Mistake("EINVAL") { $0.owner += 2 },
      Mistake("ERANGE") { $0.owner -= 0x1000 },
      Mistake("EINVAL") { $0.value = 0 },
    ]

    /// Alone.
    private static let singles: [(Claim, String)] = [
      (Claim(begin: 0x4000, end: 0x4000), "EINVAL"),
      (Claim(begin: 0x8000, end: 0x4000), "EINVAL"),
      (Claim(begin: 0xffff_f000, end: 0), "EINVAL"),
      (Claim(begin: 0, end: 0), "EINVAL"),
      (Claim(begin: 0, end: 0x4000), "ERANGE"),
      (Claim(begin: 0x1000, end: 0x4000), "ERANGE"),
      (Claim(begin: 0x1fff, end: 0x4000), "ERANGE"),
      (Claim(begin: 0x4000, end: Managed.size + 0x1000), "ERANGE"),
      (Claim(begin: 0x4000, end: Managed.size + 1), "ERANGE"),
      (Claim(begin: 0x4000, end: 0xffff_ffff), "ERANGE"),
      (Claim(begin: Managed.size, end: Managed.size + 0x1000), "ERANGE"),
      (Claim(begin: 0x4001, end: 0x8000), "EINVAL"),
      (Claim(begin: 0x4000, end: 0x7fff), "EINVAL"),
      (Claim(begin: 0x4200, end: 0x8200), "EINVAL"),
      (Claim(begin: 0x4000, end: 0x4001), "EINVAL"),
      (Claim(owner: 0x2001), "EINVAL"),
      (Claim(owner: 0x2002), "EINVAL"),
      (Claim(owner: 0xffff_ffff), "EINVAL"),
      (Claim(owner: 0), "ERANGE"),
      (Claim(owner: 0x1ffc), "ERANGE"),
      (Claim(owner: Managed.managerSize), "ERANGE"),
      (Claim(owner: 0x20000), "ERANGE"),
      (Claim(owner: 0xffff_fffc), "ERANGE"),
      (Claim(value: 0), "EINVAL"),
    ]

    @Test(arguments: Way.allCases, Client.ABI.allCases)
    func `are told in their order`(_ way: Way, _ abi: Client.ABI) throws {
      try withManaged { mount in
        let (client, other) = try (mount.client(abi), mount.client())
        let asked = try client.openAsked(mount, way)
        let fd = try client.open(mount("buffers/" + way.file))
        for (claim, error) in Self.singles {
          let reply = try client.claim(claim, way, for: fd, through: asked)
          #expect(reply == error, "\(claim.shown)")
        }
        // Any two at once, also while the area and the word are somebody else's.
        _ = try other.hold(mount, Claim(begin: 0x2000, end: 0x40000, owner: 0x2000, value: 1))
        for first in Self.mistakes.indices {
          for second in Self.mistakes.indices where second >= first {
            var claim = Claim()
            Self.mistakes[second].make(&claim)
            if second > first { Self.mistakes[first].make(&claim) }
            let reply = try client.claim(claim, way, for: fd, through: asked)
            #expect(reply == Self.mistakes[first].error, "\(first), \(second): \(claim.shown)")
          }
        }
        #expect(try client.claim(Claim(), way, for: fd, through: asked) == "EAGAIN")
        #expect(try client.claim(Claim(owner: 0x2004), way, for: fd, through: asked) == "EAGAIN")
        #expect(try client("permission", fd) == "ENOENT")
        try mount.expectHeld(
          Claim(begin: 0x2000, end: 0x40000, owner: 0x2000, value: 1), by: other.pid)
        other.kill()
        try mount.expectGivenBack()

        // Whoever has one is told so first.
        #expect(try client.claim(Claim(), way, for: fd, through: asked) == "0")
        for mistake in Self.mistakes {
          var claim = Claim(begin: 0x10000, end: 0x11000, owner: 0x3000, value: 8)
          mistake.make(&claim)
          #expect(try client.claim(claim, way, for: fd, through: asked) == "EEXIST")
        }
        #expect(try client.claim(Claim(), way, for: fd, through: asked) == "EEXIST")
        try mount.expectHeld(by: client.pid)
      }
    }

    /// One word is not for two areas, and a word that is not zero is somebody's.
    @Test(arguments: Way.allCases)
    func `the owner word decides`(_ way: Way) throws {
      try withManaged { mount in
        let (client, other) = try (mount.client(), mount.client())
        let asked = try client.openAsked(mount, way)
        let memory = try other("map", mount("manager/data"), "65536")
        let fd = try client.open(mount("buffers/" + way.file))
        for word in [1, 7, 0xffff_ffff] {
          #expect(try other("store", memory, "0x2000", "\(word)") == "0")
          #expect(try client.claim(Claim(), way, for: fd, through: asked) == "EAGAIN")
          #expect(try other("load", memory, "0x2000") == "\(word)")
          #expect(try mount.table() == [])
        }
        #expect(try other("store", memory, "0x2000", "0") == "0")
        #expect(try client.claim(Claim(), way, for: fd, through: asked) == "0")
        #expect(try other("load", memory, "0x2000") == "7")
        // Another area with the same word, the same area with another word.
        let second = try client.open(mount("buffers/" + way.file))
        let elsewhere = Claim(begin: 0x8000, end: 0x9000)
        #expect(try client.claim(elsewhere, way, for: second, through: asked) == "EAGAIN")
        for (begin, end) in [
          (0x3000, 0x5000), (0x7000, 0x9000), (0x5000, 0x6000), (0x2000, 0x40000),
        ] {
          let overlap = Claim(begin: begin, end: end, owner: 0x2004)
          #expect(
            try client.claim(overlap, way, for: second, through: asked) == "EAGAIN",
            "\(overlap.shown)")
          #expect(try other("load", memory, "0x2004") == "0")
        }
        // The last words and bytes there are; those beside the area.
        let last = Claim(begin: 0x8000, end: Managed.size, owner: 0xfffc, value: 0xffff_ffff)
        #expect(try client.claim(last, way, for: second, through: asked) == "0")
        #expect(try other("load", memory, "0xfffc") == "4294967295")
        let first = Claim(begin: 0x2000, end: 0x4000, owner: 0x2004)
        let third = try client.open(mount("buffers/" + way.file))
        #expect(try client.claim(first, way, for: third, through: asked) == "0")
      }
    }

    @Test(arguments: Way.allCases.filter { $0.asked != nil }, Client.ABI.allCases)
    func `only a handle of the managed region is one`(_ way: Way, _ abi: Client.ABI) throws {
      try withManaged { other in
        try withManaged { mount in
          let client = try mount.client(abi)
          let asked = try client.openAsked(mount, way)
          var strangers = ["-1", "-2147483648", "2147483647", "900", "0", "1"]
          strangers.append(try client("socket"))
          for (path, flags) in [
            ("/dev/null", "rw"), ("/dev/fuse", "rw"), ("/proc/self/status", "r"), ("/tmp", "r"),
            (Programs.client, "r"), (mount("buffers"), "r"), (mount("buffers/peer"), "r"),
            (mount.mountpoint, "r"), (mount("buffers/doorbell"), "rw"),
            (mount("buffers/signal"), "rw"), (mount("buffers/info"), "r"),
            (mount(".vsocfs/stats"), "r"), (mount("manager/data"), "rw"),
            (mount("manager/permissions"), "rw"), (mount("plain/data"), "rw"),
            (mount("buffers/data"), "path"),
            // Nodes and handles there are numbered as they are here.
            (other("buffers/data"), "rw"), (other("buffers/peer/data"), "rw"),
            (other("buffers/permissions"), "rw"),
          ] {
            strangers.append(try client.open(path, flags))
          }
          // The very file that could get it, but no open one.
          let real = try client.open(mount("buffers/data"))
          strangers.append(try client.open("/proc/self/fd/\(real)", "path"))
          // One that was closed.
          let closed = try client.open(mount("buffers/data"))
          #expect(try client("close", closed) == "0")
          strangers.append(closed)
          let wrong = Claim(begin: 0, end: 0, owner: 1, value: 0)
          for (index, fd) in strangers.enumerated() {
            for claim in [Claim(), wrong] {
              let reply = try client.claim(claim, way, for: fd, through: asked)
              #expect(reply == "EPERM", "stranger \(index), descriptor \(fd)")
            }
          }
          #expect(try mount.table() == [])
          #expect(try other.table() == [])
          // Those that are.
          for file in ["data", "peer/data", "permissions"] {
            let fd = try client.open(mount("buffers/" + file))
            #expect(try client.claim(Claim(), way, for: fd, through: asked) == "0", "\(file)")
            #expect(try client("permission", fd) == Claim().shown)
            #expect(try client("release", "ioctl", fd) == "0")
          }
          guard way != .named else { return }
          // By whoever manages the region, from both ends of it.
          let peer = try client.open(mount("manager/peer/data"))
          let fd = try client.open(mount("buffers/data"))
          #expect(try client.claim(Claim(), way, for: fd, through: peer) == "0")
          // Whoever has one hears of that before he hears whom he asked.
          let plain = try client.open(mount("plain/data"))
          #expect(try client.claim(Claim(), way, for: fd, through: plain) == "EEXIST")
          #expect(try client("release", "ioctl", fd) == "0")
          for claim in [Claim(), wrong] {
            #expect(try client.claim(claim, way, for: fd, through: plain) == "EPERM")
          }
          #expect(try mount.table() == [])
        }
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `only those who may write may claim`(_ abi: Client.ABI) throws {
      try withManaged { mount in
        let client = try mount.client(abi)
        let manager = try client.open(mount("manager/data"), "r")
        let fd = try client.open(mount("buffers/data"))
        // Before everything else that is wrong.
        let wrong = Claim(begin: 0, end: 0, owner: 1, value: 0)
        for way in [Way.manager, .managerSized] {
          for claim in [Claim(), wrong] {
            #expect(try client.claim(claim, way, for: fd, through: manager) == "EBADF")
            #expect(try client.claim(claim, way, for: "-1", through: manager) == "EBADF")
          }
        }
        let reader = try client.open(mount("buffers/data"), "r")
        let table = try client.open(mount("buffers/permissions"), "r")
        for way in [Way.own, .ownSized] {
          #expect(try client.claim(Claim(), way, for: reader) == "EBADF")
          #expect(try client.claim(wrong, way, for: reader) == "EBADF")
          #expect(try client.claim(Claim(), way, for: table) == "EBADF")
        }
        #expect(try client.claim(Claim(), .text, for: table) == "EBADF")
        #expect(try mount.table() == [])
        #expect(try client("permission", reader) == "ENOENT")
        // It is who asks that must be able to write: an area may be got for one who may only read.
        let asker = try client.open(mount("manager/data"))
        #expect(try client.claim(Claim(), .manager, for: reader, through: asker) == "0")
        #expect(try client("permission", reader) == Claim().shown)
        #expect(try client("map", reader, "0x4000") == "EACCES")
        #expect(try client("write", reader, "x", "0") == "EBADF")
        let memory = try client("map", reader, "0x8000", "0", "ro")
        #expect(try client("touch-all", memory, "0x8000", "read", "0") == "4r 4b")
        #expect(try client("unmap", memory) == "0")
        #expect(try client("close", reader) == "0")
        try mount.expectGivenBack()
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `an argument that is not in memory is EFAULT`(_ abi: Client.ABI) throws {
      try withManaged { mount in
        let client = try mount.client(abi)
        let manager = try client.open(mount("manager/data"))
        let fd = try client.open(mount("buffers/data"))
        func claim(_ way: String, _ count: Int, _ on: String) throws -> String {
          try client.send(
            all: ["claim-cut", way, "\(count)", on] + Claim().fields + [fd])
          return try client.reply()
        }
        for way in ["ioctl", "sized"] {
          for handle in [manager, fd] {
            for count in [0, 8, 15] { #expect(try claim(way, count, handle) == "EFAULT") }
          }
        }
        // The last four bytes, which the number of the original call does not tell of.
        for count in [16, 18] {
          #expect(try claim("ioctl", count, manager) == "EFAULT")
          #expect(try claim("sized", count, manager) == "EFAULT")
          #expect(try claim("sized", count, fd) == "EFAULT")
        }
        #expect(try mount.table() == [])
        #expect(try client("ioctl", manager, "0x4010f500", "0") == "EFAULT")
        #expect(try client("ioctl", manager, "0x4014f541", "0") == "EFAULT")
        // All of it, at the very end of a page; and where they are not needed.
        #expect(try claim("ioctl", 20, manager) == "0")
        #expect(try client("release", "ioctl", fd) == "0")
        #expect(try claim("ioctl", 16, fd) == "0")
        #expect(try client("permission", fd, "0") == "EFAULT")
        #expect(try client("permission", fd, "15") == "EFAULT")
        #expect(try client("permission", fd) == Claim().shown)
      }
    }

    /// The other calls on handles that can hold none.
    @Test func `unmanaged regions have no permissions`() throws {
      try withManaged { mount in
        let client = try mount.client()
        for path in ["plain/data", "plain/peer/data", "manager/data"] {
          let fd = try client.open(mount(path))
          for way in [Way.own, .ownSized] {
            #expect(try client.claim(Claim(), way, for: fd) == "EPERM", "\(path)")
          }
          #expect(try client("permission", fd) == "ENOENT")
          #expect(try client("release", "ioctl", fd) == "ENOENT")
        }
        let table = try client.open(mount("plain/permissions"))
        #expect(try client("read", table, "100") == "")
        #expect(try client.claim(Claim(), .text, for: table) == "EPERM")
        #expect(try client.claim(Claim(begin: 0, end: 0, owner: 1), .text, for: table) == "EPERM")
        #expect(try client("release", "text", table) == "ENOENT")
        // They are memory as ever.
        #expect(try client("write", mount("plain/data"), "hello", "0x2000") == "5")
        #expect(try client("list", mount("plain/peer")).contains("permissions") == false)
        #expect(try client("list", mount("plain")).contains("permissions"))
      }
    }

    @Test func `text that is no command is refused`() throws {
      try withManaged { mount in
        let client = try mount.client()
        let fd = try client.open(mount("buffers/permissions"))
        for text in [
          "claim", "claim 0x4000 0x8000 0x2000", "0x4000",
          "claim 0x4000 0x8000 0x2000 7 8 9", "claim 0x4000 0x8000 0x2000 7 eight",
          "claim 0x4000 0x8000 0x2000 7 -1", "release -1",
          "claim 0x4000 0x8000 0x2000 seven", "claim 0x4000 0x8000 0x2000 0x100000000",
          "claim -1 0x8000 0x2000 7", "claim 0x 0x8000 0x2000 7", "claim 4000h 0x8000 0x2000 7",
          "Claim 0x4000 0x8000 0x2000 7", "claim0x4000 0x8000 0x2000 7", "releases",
          "release 7 8", "release\nrelease\n", "\n", " ",
          "claim 0x4000 0x8000 0x2000 7\nclaim 0x8000 0x9000 0x2004 7\n", "#",
          "claim 0x4000, 0x8000, 0x2000, 7", "claim 99999999999999999999 0x8000 0x2000 7",
          String(repeating: "claim ", count: 1000),
        ] {
          #expect(try client("write", fd, text) == "EINVAL", "\(text)")
        }
        #expect(try client("write", fd, "release") == "ENOENT")
        // Descriptors that are none of this region.
        let plain = try client.open(mount("plain/data"))
        for stranger in [plain, "900", "4294967295", "0"] {
          let text = "claim 0x4000 0x8000 0x2000 7 " + stranger
          #expect(try client("write", fd, text) == "EPERM", "\(text)")
          #expect(try client("write", fd, "release " + stranger) == "EPERM", "\(stranger)")
        }
        let named = try client.open(mount("buffers/data"))
        #expect(try client("write", fd, "release " + named) == "ENOENT")
        #expect(try client.claim(Claim(), for: named) == "0")
        #expect(try client("write", fd, "release " + named) == "9")
        #expect(try mount.table() == [])
        for text in [
          "claim 16384 32768 8192 7", "  claim\t0x4000\t0X8000  0x2000 07 \n",
          "claim 0x4000 0x00008000 0x2000 0x7\n",
        ] {
          #expect(try client("write", fd, text) == "\(text.utf8.count)", "\(text)")
          try mount.expectHeld(by: client.pid)
          #expect(try client("write", fd, " release \n") == "10")
        }
      }
    }
  }
}
