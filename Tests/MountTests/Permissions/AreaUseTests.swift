// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension MountTests {
  /// What else there is to an area: it counts, it keeps its regions, one sleeps and wakes in it.
  @Suite struct AreaUse {
    @Test func `permissions are counted`() throws {
      try withManaged { mount in
        let client = try mount.client()
        func expectCount(_ count: Int, sourceLocation: SourceLocation = #_sourceLocation) throws {
          for file in ["buffers/info", "buffers/peer/info", ".vsocfs/stats"] {
            #expect(
              try mount.facts(file)["permissions"] == "\(count)", "\(file)",
              sourceLocation: sourceLocation)
          }
          #expect(
            try mount.facts("plain/info")["permissions"] == "0", sourceLocation: sourceLocation)
        }
        try expectCount(0)
        #expect(try mount.facts("buffers/info")["managed_by"] == "manager")
        var fds: [String] = []
        for index in 0..<5 {
          let claim = Claim(
            begin: 0x4000 + index * 0x1000, end: 0x5000 + index * 0x1000,
            owner: 0x2000 + index * 4, value: 1)
          fds.append(try client.hold(mount, claim, Way.allCases[index]))
          try expectCount(index + 1)
        }
        // A handle without one is none.
        _ = try client.open(mount("buffers/data"))
        try expectCount(5)
        #expect(try client("release", "ioctl", fds[0]) == "0")
        try expectCount(4)
        try client.finish()
        try eventually("all are gone") {
          try mount.facts(".vsocfs/stats")["permissions"] == "0"
        }
        try expectCount(0)
      }
    }

    @Test func `a permission keeps both regions`() throws {
      try withManaged { mount in
        let (client, other) = try (mount.client(), mount.client())
        func expectKept(sourceLocation: SourceLocation = #_sourceLocation) throws {
          for region in ["manager", "buffers"] {
            #expect(
              try other("rmdir", mount(region)) == "EBUSY", "\(region)",
              sourceLocation: sourceLocation)
          }
        }
        // No handle of the manager is open.
        let fd = try client.hold(mount)
        try expectKept()
        let memory = try client("map", fd, "0x4000")
        #expect(try client("store", memory, "0", "5") == "0")
        // Nor of the managed one, where a mapping keeps none open.
        #expect(try client("close", fd) == "0")
        try mount.settle()
        try expectKept()
        #expect(try client("unmap", memory) == "0")
        try mount.waitUntilFree()
        // Their sizes are fixed.
        for region in ["manager", "buffers"] {
          #expect(try other("truncate", mount(region + "/data"), "0x8000") == "EPERM")
        }
        try eventually("rmdir") { try other("rmdir", mount("buffers")) == "0" }
        try eventually("rmdir of the manager") { try other("rmdir", mount("manager")) == "0" }
        #expect(try other("list", mount.mountpoint) == ".vsocfs/plain")
      }
    }

    /// Each open of `data` is a handle of its own, and no handle is opened twice.
    @Test func `a handle cannot be opened again`() throws {
      try withManaged { mount in
        let (client, other) = try (mount.client(), mount.client())
        for file in ["data", "peer/data", "permissions"] {
          let fd = try client.open(mount("buffers/" + file))
          for flags in ["rw", "r", "w"] {
            let reply = try client("open", "/proc/self/fd/\(fd)", flags)
            #expect(reply == "EBUSY", "\(file), \(flags)")
          }
          #expect(try other("open", "/proc/\(client.pid)/fd/\(fd)", "r") == "EBUSY")
          #expect(try client.claim(Claim(), for: fd) == "0")
          #expect(try client("open", "/proc/self/fd/\(fd)") == "EBUSY")
          // By its name it is another one.
          let second = try client.open(mount("buffers/" + file))
          #expect(try client("permission", second) == "ENOENT")
          #expect(try client("release", "ioctl", fd) == "0")
          // One that nobody has open can be, once at a time.
          let path = try client("open", mount("buffers/" + file), "path")
          let opened = try client.open("/proc/self/fd/\(path)")
          #expect(try client("open", "/proc/self/fd/\(path)") == "EBUSY")
          #expect(try client.claim(Claim(), for: opened) == "0")
          #expect(try client("permission", opened) == Claim().shown)
          #expect(try client("release", "ioctl", opened) == "0")
          for fd in [fd, second, opened] { #expect(try client("close", fd) == "0") }
        }
        // A read-only descriptor cannot be made to write.
        let reader = try client.open(mount("buffers/data"), "r")
        #expect(try client("open", "/proc/self/fd/\(reader)", "rw") == "EBUSY")
      }
    }

    @Test(arguments: ["data", "peer/data"])
    func `conditions work inside the area`(_ file: String) throws {
      try withManaged { mount in
        let (sleeper, waker) = try (mount.client(), mount.client())
        let box = mount.mountpoint + "-box"
        let mailbox = try waker("mailbox", box)
        let fd = try sleeper.hold(mount, Claim(), file: file)
        #expect(try sleeper("send-fd", box, fd) == "1")
        let passed = String(try waker.number("receive-fd", mailbox))
        let memory = try waker("map", passed, "0x4000")
        let mine = try sleeper("map", fd, "0x4000")

        // Offsets of the calls are the region's, those of the mapping the area's.
        try sleeper.start("call", "cond-wait", fd, "0x4010", "0")
        try sleeper.start("futex", "futex-wait", mine, "0x10", "0")
        try sleeper.start("other", "cond-wait", fd, "0x7ffc", "0")
        try sleeper.waitUntilBlocked(threads: 2)
        try sleeper.waitUntilBlocked(in: .futex)
        #expect(try waker("store", memory, "0x10", "1") == "0")
        #expect(try waker("cond-wake", passed, "0x4010") == "0")
        #expect(try sleeper.asynchronousReply("call").hasPrefix("0 wakes="))
        #expect(try sleeper.asynchronousReply("futex") == "0")
        #expect(try !sleeper.hasReplied)
        // The last word, woken by the mapping alone.
        #expect(try waker("store", memory, "0x3ffc", "1") == "0")
        #expect(try waker.number("futex-wake", memory, "0x3ffc") <= 1)
        #expect(try sleeper.asynchronousReply("other").hasPrefix("0 wakes="))
        #expect(try waker("cond-wait", passed, "0x4010", "0") == "0 wakes=0")

        for offset in ["0x3ffc", "0x8000", "0x2000", "0", "0x3fffc", "0x40000", "0xfffffffc"] {
          #expect(try waker("cond-wait", passed, offset, "1") == "E2BIG wakes=0", "\(offset)")
          #expect(try waker("cond-wake", passed, offset) == "E2BIG", "\(offset)")
        }
        #expect(try waker("cond-wait", passed, "0x4002", "1") == "EADDRNOTAVAIL wakes=0")
        #expect(try waker("cond-wake", passed, "0x4002") == "EADDRNOTAVAIL")
        let bare = try waker.open(mount("buffers/" + file))
        #expect(try waker("cond-wait", bare, "0x4010", "1") == "E2BIG wakes=0")
        #expect(try waker("cond-wake", bare, "0x4010") == "E2BIG")

        // The end of the permission is theirs.
        try sleeper.start("late", "cond-wait", fd, "0x4020", "0")
        try sleeper.waitUntilBlocked()
        #expect(try waker("release", "ioctl", passed) == "0")
        #expect(try sleeper.asynchronousReply("late").hasPrefix("ENODEV"))
        #expect(try sleeper("cond-wait", fd, "0x4020", "0") == "E2BIG wakes=0")
      }
    }

    /// Wherever it is on its way to sleep.
    @Test func `no release leaves a sleeper behind`() throws {
      try withManaged { mount in
        let client = try mount.client()
        let rounds = "\(1000 / Deadline.slowness)"
        try client.send(
          all: ["release-race", client.open(mount("buffers/data")), rounds] + Claim().fields)
        #expect(try client.reply(within: 60_000) == rounds)
      }
    }

    /// Sleepers of one area do not hear of another, also where the same word was somebody else's.
    @Test func `areas have their own sleepers`() throws {
      try withManaged { mount in
        let (one, two) = try (mount.client(), mount.client())
        let left = try one.hold(mount, Claim(begin: 0x4000, end: 0x5000))
        let right = try two.hold(mount, Claim(begin: 0x5000, end: 0x6000, owner: 0x2004))
        let (near, far) = try (two("map", right, "0x1000"), one("map", left, "0x1000"))
        try one.start("sleep", "cond-wait", left, "0x4000", "0")
        try one.start("futex", "futex-wait", far, "0", "0")
        try one.waitUntilBlocked(threads: 1)
        try one.waitUntilBlocked(in: .futex)
        #expect(try two("store", near, "0", "1") == "0")
        #expect(try two.number("futex-wake", near, "0") == 0)
        #expect(try two("cond-wake", right, "0x5000") == "0")
        #expect(try two("cond-wake", right, "0x4000") == "E2BIG")
        try one.waitUntilBlocked(in: .futex)
        #expect(try !one.hasReplied)
        #expect(try one("store", far, "0", "1") == "0")
        #expect(try one("cond-wake", left, "0x4000") == "0")
        #expect(try one.asynchronousReply("sleep").hasPrefix("0 "))
        #expect(try one.asynchronousReply("futex") == "0")
      }
    }

    /// The host end's descriptor is the same memory, in each mode.
    @Test func `both ends have areas, of one table`() throws {
      try withManaged { mount in
        let (guest, host) = try (mount.client(), mount.client())
        let mine = try guest.hold(mount, Claim())
        let theirs = try host.hold(
          mount, Claim(begin: 0x8000, end: 0xa000, owner: 0x2004, value: 8), .own,
          file: "peer/data")
        #expect(try mount.table().count == 2)
        let overlap = try host.open(mount("buffers/peer/data"))
        #expect(
          try host.claim(Claim(begin: 0x7000, end: 0x8000, owner: 0x2008), for: overlap)
            == "EAGAIN")
        let memory = try host("map", theirs, "0x2000")
        #expect(try host("touch-all", memory, "0x2000", "write", "0x99") == "2w")
        #expect(try host("unmap", memory) == "0")
        #expect(try host("release", "ioctl", theirs) == "0")
        #expect(try guest("release", "ioctl", mine) == "0")
        let all = try guest.hold(mount, Claim(begin: 0x8000, end: 0xa000))
        #expect(try guest("differ", all, "0x99") == "8192 0")
        // The ends are as far apart as ever.
        #expect(try guest("region-info", all).split(separator: " ")[4] == "0")
        #expect(try host("region-info", overlap).split(separator: " ")[4] == "1")
        #expect(try guest("describe", all).contains(" \(Managed.size) \(Managed.data) "))
        try guest.start("wait", "wait-incoming", all)
        try guest.waitUntilBlocked()
        #expect(try host("send", overlap) == "0")
        #expect(try host("maybe", overlap) == "0")
        #expect(try guest.asynchronousReply("wait") == "0")
      }
    }

    /// The owner words of the last region are in areas of the one before, and move with them.
    @Test func `a manager may have a manager`() throws {
      let layout = """
        { regions: [
          { name: "first", size: "64K" },
          { name: "manager", size: "64K", managed_by: "first" },
          { name: "buffers", size: "256K", managed_by: "manager" },
        ] }
        """
      try withLayout(layout) { mount in
        let (clerk, client) = try (mount.client(), mount.client())
        // Nobody has the words of this one.
        let early = Claim(begin: 0x20000, end: 0x21000, owner: 0x2004, value: 5)
        let fd = try client.hold(mount, early)
        let words = try clerk.open(mount("manager/data"))
        let page = Claim(begin: 0x2000, end: 0x3000, owner: 0x2000, value: 1)
        #expect(try clerk.claim(page, for: words) == "0")
        let memory = try clerk("map", words, "0x1000")
        #expect(try clerk("load", memory, "4") == "5")
        #expect(try client("release", "ioctl", fd) == "0")
        #expect(try clerk("load", memory, "4") == "0")
        // And whoever has them sees them come and go.
        #expect(try client.claim(Claim(), .own, for: fd) == "0")
        #expect(try clerk("load", memory, "0") == "7")
        let other = try client.open(mount("buffers/data"))
        #expect(try clerk("store", memory, "8", "1") == "0")
        let taken = Claim(begin: 0x10000, end: 0x11000, owner: 0x2008, value: 9)
        #expect(try client.claim(taken, for: other) == "EAGAIN")
        #expect(try clerk("store", memory, "8", "0") == "0")
        #expect(try client.claim(taken, for: other) == "0")
        #expect(try clerk("load", memory, "8") == "9")
        // They are there when he has gone.
        try clerk.finish()
        try eventually("the words are free") { try mount.read("manager/permissions") == "" }
        let next = try mount.client()
        let again = try next.open(mount("manager/data"))
        #expect(try next.claim(page, for: again) == "0")
        let theirs = try next("map", again, "0x1000")
        #expect(try next("load", theirs, "0") == "7")
        #expect(try next("load", theirs, "8") == "9")
        try client.finish()
        try mount.waitUntilFree()
        #expect(try next("load", theirs, "0") == "0")
        #expect(try next("load", theirs, "8") == "0")
      }
    }
  }
}
