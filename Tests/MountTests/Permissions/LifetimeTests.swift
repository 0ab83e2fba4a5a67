// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension MountTests {
  /// How long a permission lives: as long as its descriptor, wherever that is, and as long as somebody
  /// may still write to the area.
  @Suite struct Lifetimes {
    @Test(arguments: Way.allCases)
    func `SIGKILL of the holder ends it`(_ way: Way) throws {
      try withManaged { mount in
        let client = try mount.client()
        let fd = try client.hold(mount, Claim(), way)
        if way != .text || mount.mode == .passthrough {
          let memory = try client("map", fd, "0x4000")
          #expect(try client("store", memory, "0x3ffc", "1") == "0")
        }
        try mount.expectHeld(by: client.pid)
        client.kill()
        try mount.expectGivenBack()
      }
    }

    @Test(arguments: [Way.ownSized, .text])
    func `dup and close`(_ way: Way) throws {
      try withManaged { mount in
        let client = try mount.client()
        let fd = try client.hold(mount, Claim(), way)
        let copy = try client("dup", fd)
        #expect(try client("close", fd) == "0")
        try mount.settle()
        try mount.expectHeld()
        #expect(try client("permission", copy) == Claim().shown)
        #expect(try client("close", copy) == "0")
        try mount.expectGivenBack()
      }
    }

    @Test(arguments: [Way.ownSized, .text])
    func `a child keeps it when its parent has gone`(_ way: Way) throws {
      try withManaged { mount in
        let client = try mount.client()
        _ = try client.hold(mount, Claim(), way)
        let child = Int32(try client.number("fork"))
        defer { kill(child, SIGKILL) }
        client.kill()
        try mount.settle()
        try mount.expectHeld()
        kill(child, SIGKILL)
        try mount.expectGivenBack()
      }
    }

    @Test func `a program that is executed has what it inherits`() throws {
      try withManaged { mount in
        let client = try mount.client()
        let (first, second) = (
          Claim(), Claim(begin: 0x8000, end: 0x9000, owner: 0x2004, value: 8)
        )
        let fd = try client.hold(mount, first)
        let inherited = try client.hold(mount, second)
        #expect(try client("inherit", inherited) == "0")
        // Also what is mapped goes, as far as its descriptor does.
        let memory = try client("map", fd, "0x4000")
        #expect(try client("store", memory, "0", "1") == "0")
        #expect(try client("execute") == "0")
        #expect(try client("permission", inherited) == second.shown)
        #expect(try client("permission", fd) == "EBADF")
        try eventually("what was close-on-exec") { try mount.table().count == 1 }
        try mount.expectHeld(second, by: client.pid)
        #expect(try mount.ownerWord(first.owner) == 0)
        let again = try client("map", inherited, "0x1000")
        #expect(try client("store", again, "0xffc", "2") == "0")
        try client.finish()
        try mount.expectGivenBack(second)
      }
    }

    @Test func `a descriptor under way in a socket keeps it`() throws {
      try withManaged { mount in
        let (sender, receiver) = try (mount.client(), mount.client())
        let box = mount.mountpoint + "-box"
        let mailbox = try receiver("mailbox", box)
        let fd = try sender.hold(mount)
        #expect(try sender("send-fd", box, fd) == "1")
        sender.kill()
        try mount.settle()
        try mount.expectHeld()
        #expect(try receiver.claim(Claim(), for: receiver.open(mount("buffers/data"))) == "EAGAIN")
        let received = String(try receiver.number("receive-fd", mailbox))
        #expect(try receiver("permission", received) == Claim().shown)
        // And back into the socket, which goes before anybody takes it out.
        #expect(try receiver("send-fd", box, received) == "1")
        #expect(try receiver("close", received) == "0")
        try mount.settle()
        try mount.expectHeld()
        #expect(try receiver("close", mailbox) == "0")
        try mount.expectGivenBack()
      }
    }

    // MARK: Mappings

    /// What ends the last mapping of an area.
    enum Ending: String, CaseIterable, CustomTestStringConvertible {
      case unmap
      case kill = "SIGKILL"
      case execute
      case exit

      var testDescription: String { rawValue }
    }

    /// The most that the next claim may take once the mapping is gone. In the median: this machine may
    /// be busy with something else.
    private static let limit = 100.0 * Double(Deadline.slowness)

    @Test(arguments: Ending.allCases)
    func `a mapping outlives the last descriptor`(_ ending: Ending) throws {
      try withManaged { mount in
        let next = try mount.client()
        var times: [Double] = []
        for round in 0..<5 {
          let client = try mount.client()
          let fd = try client.hold(mount, Claim(), round % 2 == 0 ? .ownSized : .manager)
          let memory = try client("map", fd, "0x4000")
          #expect(try client("close", fd) == "0")
          try mount.settle()
          try mount.expectHeld(by: client.pid)
          let fresh = try next.open(mount("buffers/data"))
          #expect(try next.claim(Claim(value: 8), for: fresh) == "EAGAIN")
          #expect(
            try next.claim(
              Claim(begin: 0x7000, end: 0x9000, owner: 0x2004, value: 8), for: fresh) == "EAGAIN")
          #expect(try client("store", memory, "0x1000", "\(round + 1)") == "0")
          switch ending {
          case .unmap: #expect(try client("unmap", memory) == "0")
          case .kill: #expect(client.kill())
          case .execute: #expect(try client("execute") == "0")
          case .exit: try client.finish()
          }
          times.append(try next.claimWhenFree(Claim(value: 8), for: fresh))
          #expect(try next("permission", fresh) == Claim(value: 8).shown)
          // What was stored last is there.
          let theirs = try next("map", fresh, "0x4000")
          #expect(try next("load", theirs, "0x1000") == "\(round + 1)")
          #expect(try next("unmap", theirs) == "0")
          #expect(try next("release", "ioctl", fresh) == "0")
          #expect(try next("close", fresh) == "0")
        }
        #expect(times.sorted()[2] < Self.limit, "ms: \(times)")
        try mount.expectGivenBack()
      }
    }

    /// Mapped for reading by a descriptor that may write: mprotect(2) could make it writable.
    @Test(arguments: [false, true])
    func `a child's mapping is one too`(_ isReadOnly: Bool) throws {
      try withManaged { mount in
        let (client, next) = try (mount.client(), mount.client())
        let fd = try client.hold(mount)
        let memory =
          isReadOnly
          ? try client("map", fd, "0x4000", "0", "ro") : try client("map", fd, "0x4000")
        #expect(try client("close", fd) == "0")
        let child = try client("fork")
        #expect(try client("unmap", memory) == "0")
        try mount.settle()
        try mount.expectHeld()
        let fresh = try next.open(mount("buffers/data"))
        #expect(try next.claim(Claim(value: 8), for: fresh) == "EAGAIN")
        #expect(try client("end-child", child) == "0")
        #expect(try next.claimWhenFree(Claim(value: 8), for: fresh) < 50 * Self.limit)
      }
    }

    /// Also if nobody asks for it.
    @Test func `an area is free when its last mapping has gone`() throws {
      try withManaged { mount in
        let client = try mount.client()
        let areas = try (0..<8).map { index in
          let claim = Claim(
            begin: 0x4000 + index * 0x1000, end: 0x5000 + index * 0x1000,
            owner: 0x2000 + index * 4, value: index + 1)
          let fd = try client.hold(mount, claim)
          let memory = try client("map", fd, "0x1000")
          #expect(try client("store", memory, "0", "\(index)") == "0")
          #expect(try client("close", fd) == "0")
          return (claim, memory)
        }
        try mount.settle()
        let watcher = try mount.client()
        let words = try watcher("map", mount("manager/data"), "65536")
        for (index, (claim, memory)) in areas.enumerated() {
          #expect(try mount.table().count == areas.count - index)
          #expect(try watcher("load", words, "\(claim.owner)") == "\(claim.value)")
          #expect(try client("unmap", memory) == "0")
          try eventually("area \(index) is free") {
            try watcher("load", words, "\(claim.owner)") == "0"
          }
          try eventually("area \(index) is in no table") {
            try mount.table().count == areas.count - index - 1
          }
        }
      }
    }

    @Test func `a mapping of a part keeps all of it`() throws {
      try withManaged { mount in
        let (client, next) = try (mount.client(), mount.client())
        let fd = try client.hold(mount)
        let memory = try client("map", fd, "0x1000", "0x3000")
        #expect(try client("close", fd) == "0")
        try mount.settle()
        try mount.expectHeld()
        let fresh = try next.open(mount("buffers/data"))
        let start = Claim(begin: 0x4000, end: 0x5000, owner: 0x2004, value: 8)
        #expect(try next.claim(start, for: fresh) == "EAGAIN")
        #expect(try client("unmap", memory) == "0")
        #expect(try next.claimWhenFree(start, for: fresh) < 50 * Self.limit)
      }
    }

    // MARK: Release

    @Test(arguments: [Way.own, .manager, .text])
    func `a release is at once`(_ way: Way) throws {
      try withManaged { mount in
        let (client, next) = try (mount.client(), mount.client())
        let fd = try client.hold(mount, Claim(), way)
        let copy = try client("dup", fd)
        let isMapped = way != .text || mount.mode == .passthrough
        let memory = isMapped ? try client("map", fd, "0x8000") : ""
        if isMapped { #expect(try client("store", memory, "0x3ffc", "5") == "0") }
        #expect(try client("release", way == .text ? "text" : "ioctl", copy) == "0")
        // No waiting in any of this.
        #expect(try mount.table() == [])
        #expect(try mount.ownerWord() == 0)
        #expect(try client("permission", fd) == "ENOENT")
        #expect(try client("release", way == .text ? "text" : "ioctl", fd) == "ENOENT")
        if isMapped {
          #expect(try client("touch-all", memory, "0x8000", "read", "0") == "8b")
          #expect(try client("touch-all", memory, "0x8000", "write", "9") == "8b")
        }
        if way != .text {
          #expect(try client("read", fd, "10", "0") == "")
          #expect(try client("write", fd, "x", "0") == "EPERM")
          #expect(try client("stat", fd).contains(" 0 "))
        }
        let theirs = try next.hold(mount)
        if isMapped {
          let area = try next("map", theirs, "0x4000")
          #expect(try next("load", area, "0x3ffc") == "5")
          #expect(try client("touch-all", memory, "0x8000", "write", "9") == "8b")
          #expect(try next("load", area, "0x3ffc") == "5")
        }
        #expect(try client.claim(Claim(), for: fd) == "EAGAIN")

        // The handle may have another area, which the old mapping shows then.
        let other = Claim(begin: 0x10000, end: 0x12000, owner: 0x2004, value: 9)
        #expect(try client.claim(other, way == .text ? .text : .ownSized, for: fd) == "0")
        #expect(try client("permission", copy) == other.shown)
        if isMapped {
          #expect(try client("touch-all", memory, "0x8000", "read", "0") == "2r 6b")
          #expect(try client("touch-all", memory, "0x8000", "write", "0x66") == "2w 6b")
        }
        #expect(try client("release", way == .text ? "text" : "ioctl", fd) == "0")
        #expect(try next("release", "ioctl", theirs) == "0")
        if isMapped {
          let last = try next.hold(mount, other)
          #expect(try next("differ", last, "0x66") == "8192 0")
        }
      }
    }

    /// Areas of one handle one after the other, larger and smaller, through one mapping.
    @Test func `a handle has area after area`() throws {
      try withManaged { mount in
        let client = try mount.client()
        let fd = try client.open(mount("buffers/data"))
        let memory = try client("map", fd, "0x40000")
        for round in 0..<40 {
          let pages = 1 + round * 7 % 20
          let begin = 0x2000 + round % 5 * 0x4000
          let claim = Claim(
            begin: begin, end: begin + pages * 0x1000, owner: 0x2000 + round * 4, value: round + 1)
          #expect(try client.claim(claim, round % 2 == 0 ? .own : .ownSized, for: fd) == "0")
          #expect(
            try client("touch-all", memory, "0x40000", "write", "\(round + 1)")
              == "\(pages)w \(64 - pages)b")
          #expect(try client("differ", fd, "\(round + 1)") == "\(claim.length) 0")
          #expect(try client("release", "ioctl", fd) == "0")
        }
        #expect(try mount.table() == [])
      }
    }

    /// The manager may write to its own memory, and is told of what it has spoilt.
    @Test func `an owner word that somebody else has changed is freed, and logged`() throws {
      try withManaged { mount in
        mount.expectedLogLines = ["owner"]
        let (client, manager) = try (mount.client(), mount.client())
        let memory = try manager("map", mount("manager/data"), "65536")
        for way in 0..<2 {
          let fd = try client.hold(mount)
          #expect(try manager("exchange", memory, "0x2000", "1234") == "7")
          if way == 0 {
            #expect(try client("release", "ioctl", fd) == "0")
          } else {
            #expect(try client("close", fd) == "0")
            try mount.waitUntilFree()
          }
          #expect(try manager("load", memory, "0x2000") == "0")
          let lines = mount.log.split(separator: "\n").filter { $0.contains("owner") }
          #expect(lines.count == way + 1, "\(mount.log)")
          #expect(lines.last?.contains("\"manager\" held 1234, not 7") == true, "\(mount.log)")
        }
        let fd = try client.hold(mount)
        #expect(try client("release", "ioctl", fd) == "0")
        #expect(mount.log.split(separator: "\n").count == 2, "\(mount.log)")
      }
    }
  }
}
