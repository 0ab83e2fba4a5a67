// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension MountTests {
  /// Managed regions as they are meant to be used: somebody gets an area and passes it on.
  @Suite struct Allocation {
    @Test(arguments: [Way.manager, .managerSized, .own, .ownSized, .named], Client.ABI.allCases)
    func `an area is claimed, mapped and passed on`(_ way: Way, _ abi: Client.ABI) throws {
      try withManaged { mount in
        let (allocator, user) = try (mount.client(abi), mount.client(abi))
        let claim = Claim()
        let asked = try allocator.openAsked(mount, way)
        let fd = try allocator.open(mount("buffers/data"))
        #expect(try allocator("permission", fd) == "ENOENT")
        #expect(try allocator.claim(claim, way, for: fd, through: asked) == "0")
        #expect(try allocator("permission", fd) == claim.shown)
        try mount.expectHeld(claim, by: allocator.pid)

        let memory = try allocator("map", fd, "\(claim.length)")
        #expect(try allocator("sow", memory, "0", "\(claim.length)", "1") == "0")
        #expect(try allocator("stat", fd).contains(" \(claim.length) "))

        let box = mount.mountpoint + "-box"
        let mailbox = try user("mailbox", box)
        #expect(try allocator("send-fd", box, fd) == "1")
        let passed = String(try user.number("receive-fd", mailbox))
        #expect(try user("permission", passed) == claim.shown)
        let theirs = try user("map", passed, "\(claim.length)")
        #expect(try user("reap", theirs, "0", "\(claim.length)", "1") == "0")
        #expect(try user("store", theirs, "0x3ffc", "99") == "0")
        #expect(try allocator("load", memory, "0x3ffc") == "99")
        #expect(try allocator("fill", fd, "0x41", "4", "0") == "4")
        #expect(try user("read", passed, "4", "0") == "AAAA")

        // The allocator may go: the permission is with the descriptor.
        try allocator.finish()
        try mount.settle()
        try mount.expectHeld(claim)
        #expect(try user("load", theirs, "0x3ffc") == "99")
        try user.finish()
        try mount.expectGivenBack(claim)
      }
    }

    @Test func `a descriptor of permissions is the area too`() throws {
      try withManaged { mount in
        let client = try mount.client()
        let fd = try client.open(mount("buffers/permissions"))
        let claim = Claim()
        #expect(try client.claim(claim, .text, for: fd) == "0")
        #expect(try client("permission", fd) == claim.shown)
        let memory = try client("map", fd, "\(claim.length)")
        if mount.mode == .passthrough {
          #expect(try client("store", memory, "0x3ffc", "5") == "0")
          #expect(try client("unmap", memory) == "0")
        } else {
          #expect(memory == "ENODEV")
        }
        #expect(try client("release", "text", fd) == "0")
        try mount.expectGivenBack(claim)
        // And by ioctl in any mode.
        #expect(try client.claim(claim, .ownSized, for: fd) == "0")
        try mount.expectHeld(claim, by: client.pid)
        #expect(try client("close", fd) == "0")
        try mount.expectGivenBack(claim)
      }
    }

    /// The shell of the issue, with a program that inherits the descriptor.
    @Test func `a shell gets an area for the programs that it starts`() throws {
      try withManaged { mount in
        let result = try mount.shell(
          """
          exec 3<>$M/buffers/permissions
          echo "claim 0x2000 0x4000 0x2000 7" >&3 || exit 1
          cat <&3
          cat <&3
          cat $M/buffers/permissions
          python3 -c '
          import mmap
          try:
              area = mmap.mmap(3, 8192)
              area[0:5] = b"hello"
              print("mapped", len(area))
              area.close()
          except OSError as error:
              print(error.errno)
          '
          exec 3>&-
          until [ -z "$(cat $M/buffers/permissions)" ]; do :; done
          echo "free"
          """)
        #expect(result.status == 0, "\(result.output)")
        let lines = result.lines
        #expect(lines.count == 5, "\(result.output)")
        guard lines.count == 5 else { return }
        let line = "0x00002000 0x00004000 0x00002000 0x00000007 "
        #expect(lines[0].hasPrefix("*" + line) && lines[0].hasSuffix(" sh"), "\(lines[0])")
        #expect(lines[1] == lines[0])
        // Of somebody else, who only looks.
        #expect("*" + lines[2] == lines[0])
        #expect(lines[3] == (mount.mode == .passthrough ? "mapped 8192" : "\(ENODEV)"))
        #expect(lines[4] == "free")
        #expect(try mount.ownerWord() == 0)
        guard mount.mode == .passthrough else { return }
        let next = try mount.client()
        let fd = try next.hold(mount, Claim(begin: 0x2000, end: 0x3000))
        #expect(try next("read", fd, "5", "0") == "hello")
      }
    }

    /// Lines are told apart by the handle that reads.
    @Test func `the table shows who holds what`() throws {
      try withManaged { mount in
        let (one, two) = try (mount.client(), mount.client())
        let first = Claim(begin: 0x4000, end: 0x5000, owner: 0x2000, value: 1)
        let second = Claim(begin: 0x6000, end: 0x40000, owner: 0x2004, value: 0xffff_ffff)
        let third = Claim(begin: 0x5000, end: 0x6000, owner: 0xfffc, value: 3)
        let text = try one.hold(mount, first, .text)
        _ = try one.hold(mount, second, .own)
        let other = try two.hold(mount, third, .text)
        func lines(_ star: Claim?) -> [String] {
          [(first, one), (second, one), (third, two)].map { claim, client in
            (claim.shown == star?.shown ? "*" : "") + claim.shown
              + " \(client.pid) vsoc-client"
          }.sorted()
        }
        func read(_ client: Client, _ fd: String) throws -> [String] {
          let text = try client("read", fd, "4096")
          // At its end once, and then it begins anew.
          #expect(try client("read", fd, "4096") == "")
          return text.replacing("\\n", with: "\n").split(separator: "\n").map(String.init).sorted()
        }
        for _ in 0..<2 { #expect(try read(one, text) == lines(first)) }
        #expect(try read(two, other) == lines(third))
        #expect(try mount.table().sorted() == lines(nil))
        // Byte by byte, as `read` of a shell does.
        var bytes = ""
        for _ in 0..<12 { bytes += try two("read", other, "1") }
        let start = try #require(try mount.table().first).prefix(11)
        #expect(bytes.contains(start.suffix(10).prefix(9)), "\(bytes)")

        try one.finish()
        try eventually("the rest of the table") { try mount.table().count == 1 }
        #expect(try mount.ownerWord(0x2004) == 0)
      }
    }

    /// A thread may claim as well as its process, in whose name it does.
    @Test(arguments: Way.allCases)
    func `a thread claims for its process`(_ way: Way) throws {
      try withManaged { mount in
        let client = try mount.client()
        let fd = try client.open(mount("buffers/" + way.file))
        let asked = try client.openAsked(mount, way)
        #expect(try client.claimInThread(Claim(), way, for: fd, through: asked) == "0")
        try mount.expectHeld(by: client.pid)
        #expect(try client("permission", fd) == Claim().shown)
      }
    }

    @Test func `a program for the original driver`() throws {
      try runOriginal(flags: [], bits: 64)
    }

    @Test(.enabled(if: Programs.compiles32, "no compiler for 32 bits is installed"))
    func `a 32-bit program for the original driver`() throws {
      try runOriginal(flags: ["-m32"], bits: 32)
    }

    private func runOriginal(flags: [String], bits: Int) throws {
      let directory = try TemporaryDirectory()
      let program = try Programs.compiledHAL(flags, in: directory)
      try withManaged { mount in
        // Somebody has a buffer that the program must go around.
        let other = try mount.client()
        let fd = try other.hold(
          mount, Claim(begin: 0x4000, end: 0x5000, owner: 0x3000, value: 0x99))
        #expect(try other("fill", fd, "0x99", "4096", "0") == "4096")
        let hal = try ChildProcess(
          program, [mount("manager/data"), mount("buffers/data"), "0x2000", "3"])
        let output = try hal.rest()
        #expect(try hal.wait() == 0, "\(output)")
        #expect(
          output.split(separator: "\n").map(String.init) == [
            "allocated 0x2000, owner word 65", "used 0x2000 0x4000 0x2000 65",
            "0x2000 is taken", "0x3000 is taken", "0x4000 is taken",
            "allocated 0x5000, owner word 66", "used 0x5000 0x7000 0x2004 66",
            "0x5000 is taken", "0x6000 is taken",
            "allocated 0x7000, owner word 67", "used 0x7000 0x9000 0x2008 67",
            "done in \(bits) bits",
          ], "\(output)")
        #expect(try other("differ", fd, "0x99") == "4096 0")
        try eventually("only the other one is left") { try mount.table().count == 1 }
        for word in [0x2000, 0x2004, 0x2008] { #expect(try mount.ownerWord(word) == 0) }
      }
    }

    /// The numbers of the original header, in 64 and 32 bits.
    @Test(OnlyInMode(.pageCache), arguments: Client.ABI.allCases)
    func `the calls have the original numbers`(_ abi: Client.ABI) throws {
      let client = try Client(abi)
      #expect(
        try client("permission-numbers") == "4010f500 8010f501 4014f541 f542")
    }
  }
}
