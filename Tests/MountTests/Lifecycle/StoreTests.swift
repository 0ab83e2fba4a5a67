// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// `--store`: what is there after the daemon's end, whatever ended it.
  @Suite struct Stores {
    /// A directory for a mount and its store, and the daemons one after the other.
    private final class Home {
      let directory: TemporaryDirectory
      let mountpoint: String
      let store: String

      init() throws {
        directory = try TemporaryDirectory()
        mountpoint = directory.path + "/mnt"
        store = directory.path + "/store"
        unsafe mkdir(mountpoint, 0o755)
      }

      /// Runs `body` with a daemon, which ends cleanly afterwards if it has not ended by then.
      func withDaemon<Result>(
        _ arguments: [String] = [], sourceLocation: SourceLocation = #_sourceLocation,
        _ body: (MountedDaemon) throws -> Result
      ) throws -> Result {
        let mount = try MountedDaemon(
          ["--store", store] + arguments, at: mountpoint, in: directory)
        defer { mount.clearAway(sourceLocation: sourceLocation) }
        return try body(mount)
      }
    }

    /// The kernel passes nothing through to a file system that is on top of another one, as the root of a
    /// container is.
    @Test(OnlyInMode(.passthrough)) func `a store on overlayfs goes without passthrough`() throws {
      let directory = try TemporaryDirectory()
      let (below, above) = (directory.path + "/below", directory.path + "/above")
      let script = """
        mkdir $1 $2 && mount -t tmpfs none $1 && mkdir $1/lower $1/upper $1/work
        mount -t overlay -o lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work none $2
        """
      let setup = try ChildProcess("/bin/sh", ["-ec", script, "sh", below, above])
      #expect(try setup.rest() == "")
      #expect(try setup.wait() == 0)
      let mountpoint = directory.path + "/mnt"
      unsafe mkdir(mountpoint, 0o755)
      let arguments = ["--store", above + "/store", "--region", "demo"]
      let refused = try ChildProcess(
        Programs.daemon, ["-f", "-o", "passthrough=on"] + arguments + [mountpoint])
      #expect(
        try refused.rest().contains("the store's file system cannot do FUSE passthrough"))
      #expect(try refused.wait() == 1)
      #expect(!Mounts.contains(mountpoint))
      let mount = try MountedDaemon(
        ["-o", "passthrough=auto"] + arguments, at: mountpoint, in: directory)
      defer { mount.clearAway() }
      mount.expectedLogLines = ["goes without passthrough"]
      #expect(try mount.facts("demo/info")["mode"] == "page-cache")
      #expect(mount.allOfLog.contains("the store's file system cannot do FUSE passthrough"))
      let client = try mount.client()
      #expect(try client("write", client.open(mount("demo/data")), "written", "0x3000") == "7")
    }

    private enum Ending: String, CaseIterable, CustomTestStringConvertible {
      case umount
      case term = "SIGTERM"
      case kill = "SIGKILL"

      var testDescription: String { rawValue }

      func end(_ mount: MountedDaemon) throws {
        switch self {
        case .umount:
          try eventually("umount") { unsafe mt_umount(mount.mountpoint) == 0 }
          mount.expectCleanEnd()
        case .term:
          mount.terminate()
        case .kill:
          mount.process.kill()
        }
      }
    }

    @Test(arguments: Ending.allCases)
    private func `contents, layout, modes and owners survive`(_ ending: Ending) throws {
      let home = try Home()
      let layout = try home.withDaemon(["--region", "demo:64K"]) { mount in
        let client = try mount.client()
        #expect(try client("mkdir", mount("Größe 2"), "0750") == "0")
        #expect(try client("truncate", mount("Größe 2/data"), "131072") == "0")
        #expect(try client("mkdir", mount("gone")) == "0")
        #expect(try client("rmdir", mount("gone")) == "0")
        #expect(try client("chmod", mount("demo/peer"), "0700") == "0")
        #expect(try client("chown", mount("demo"), "12", "34") == "0")
        #expect(try client("chmod", mount.mountpoint, "01711") == "0")
        // In each way that there is.
        let data = try client.open(mount("demo/data"))
        let memory = try client("map", data, "65536")
        #expect(try client("store", memory, "0x2000", "77") == "0")
        #expect(try client("sync", memory, "0x2000") == "0")
        #expect(try client("write", data, "written", "0x3000") == "7")
        #expect(try client("write", mount("demo/peer/data"), "theirs", "0x4000") == "6")
        #expect(try client("write", mount("demo/doorbell"), "0x2004\n") == "7")
        #expect(try client("write", mount("demo/peer/signal"), "disable\n") == "8")
        let text = try mount.read(".vsocfs/layout")
        client.kill()
        try ending.end(mount)
        return text
      }
      for _ in 0..<2 {
        try home.withDaemon { mount in
          if ending == .kill { mount.expectedLogLines = ["dead", "stale", "detach"] }
          let client = try mount.client()
          #expect(try mount.read(".vsocfs/layout") == layout)
          #expect(try client("list", mount.mountpoint) == ".vsocfs/Größe 2/demo")
          #expect(try client("stat", mount.mountpoint).hasPrefix("dir 1711 0 0 "))
          #expect(try client("stat", mount("demo/data")).hasPrefix("file 660 12 34 65536 "))
          #expect(try client("stat", mount("demo/peer/data")).hasPrefix("file 600 0 0 65536 "))
          #expect(try client("stat", mount("Größe 2/data")).hasPrefix("file 640 0 0 131072 "))
          // What had contents keeps its size.
          #expect(try client("truncate", mount("demo/data"), "131072") == "EPERM")
          let facts = try mount.facts("demo/info")
          #expect(facts["outgoing_posted"] == "1")
          #expect(facts["mode"] == mount.mode.rawValue)
          #expect(try mount.facts("demo/peer/info")["signal_enabled"] == "0")
          let memory = try client("map", mount("demo/data"), "65536")
          #expect(try client("load", memory, "0x2000") == "77")
          #expect(try client("peek", memory, "0x3000", "8") == "7772697474656e00")
          #expect(try client("peek", memory, "0x4000", "6") == "746865697273")
          #expect(try client("load", memory, "4") == "65536")
          client.kill()
        }
      }
      // What was posted is still to be taken in.
      try home.withDaemon { mount in
        let lines = try mount.once("read", mount("demo/peer/doorbell"), "100")
        #expect(lines == #"0x00002004\n"#)
      }
    }

    @Test func `a write past the end changes nothing in a store either`() throws {
      let home = try Home()
      try home.withDaemon(["--region", "demo:64K"]) { mount in
        let client = try mount.client()
        let fd = try client.open(mount("demo/data"))
        let memory = try client("map", fd, "65536")
        for offset in ["65536", "65540", "0x100000000"] {
          #expect(try client("write", fd, "x", offset).hasPrefix("E"), "\(offset)")
        }
        let across = try client("fill", fd, "0x55", "8192", "61440")
        #expect(across.hasPrefix("E") || across == "4096", "\(across)")
        #expect(try client("stat", home.store + "/regions/demo.region").contains(" 65536 "))
        #expect(try client("stat", fd).contains(" 65536 "))
        #expect(try client("load", memory, "4") == "65536")
        let reader = try client.open(mount("demo/data"), "r")
        #expect(try client("read", reader, "100", "65536") == "")
        #expect(try client("fsync", fd) == "0")
      }
    }

    @Test func `a second daemon on the same store is refused`() throws {
      let home = try Home()
      try home.withDaemon(["--region", "demo"]) { mount in
        let other = home.directory.path + "/other"
        unsafe mkdir(other, 0o755)
        for arguments in [["-f"], []] {
          let result = try runDaemon(arguments + ["--store", home.store, other])
          #expect(result.status == 1)
          #expect(result.lines.count == 1 && result.output.contains(home.store + "/lock"))
          #expect(result.output.contains("\(mount.pid)"))
          #expect(!Mounts.contains(other))
        }
        #expect(try mount.once("list", mount.mountpoint) == ".vsocfs/demo")
      }
    }

    @Test func `what is no store is refused, and named`() throws {
      let home = try Home()
      try home.withDaemon(["--region", "demo:64K"]) { _ in }
      func expectRefusal(_ file: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let result = try runDaemon(["-f", "--store", home.store, home.mountpoint])
        #expect(result.status == 1, sourceLocation: sourceLocation)
        #expect(
          result.lines.count == 1 && result.output.contains(file), "\(result.output)",
          sourceLocation: sourceLocation)
        #expect(!Mounts.contains(home.mountpoint), sourceLocation: sourceLocation)
      }
      let region = home.store + "/regions/demo.region"
      let layout = home.store + "/layout.json5"
      let text = try #require(contents(of: layout))
      try createFile(layout, "{ regions: [")
      try expectRefusal(layout)
      try createFile(layout, text)
      #expect(unsafe truncate(region, 4096) == 0)
      try expectRefusal(region)
      #expect(unsafe unlink(region) == 0)
      try expectRefusal(region)
      // Nothing was lost by that: the rest is as it was.
      #expect(contents(of: layout) == text)
      let foreign = home.directory.path + "/foreign"
      unsafe mkdir(foreign, 0o755)
      try createFile(foreign + "/letter.txt", "dear")
      let result = try runDaemon(["-f", "--store", foreign, home.mountpoint])
      #expect(result.status == 1 && result.output.contains(foreign + "/letter.txt"))
      #expect(names(in: foreign) == ["letter.txt"])
    }

    @Test func `a full disk is ENOSPC and leaves nothing half made`() throws {
      let home = try Home()
      let disk = home.directory.path + "/disk"
      unsafe mkdir(disk, 0o755)
      #expect(unsafe mount("none", disk, "tmpfs", 0, "size=4M") == 0)
      defer { unsafe mt_umount_detach(disk) }
      let mount = try MountedDaemon(
        ["--store", disk + "/store", "-o", "region_size=1M", "--region", "demo"],
        at: home.mountpoint, in: home.directory)
      defer { mount.clearAway() }
      let client = try mount.client()
      #expect(try client("mkdir", mount("a")) == "0")
      #expect(try client("mkdir", mount("b")) == "0")
      for _ in 0..<3 { #expect(try client("mkdir", mount("c")) == "ENOSPC") }
      #expect(try client("list", mount.mountpoint) == ".vsocfs/a/b/demo")
      #expect(names(in: disk + "/store/regions").count == 3)
      #expect(try client("truncate", mount("b/data"), "3145728") == "ENOSPC")
      #expect(try client("stat", mount("b/data")).contains(" 1048576 "))
      // Those that are there work, and room that is given back can be used.
      let memory = try client("map", mount("a/data"), "0x100000")
      #expect(try client("sow", memory, "0x2000", "0xfe000", "3") == "0")
      #expect(try client("rmdir", mount("b")) == "0")
      #expect(try client("mkdir", mount("c")) == "0")
      #expect(try client("reap", memory, "0x2000", "0xfe000", "3") == "0")
    }

    /// Stores to a mapping alone are the kernel's until it writes them back, which it does as the
    /// daemon ends.
    @Test func `what only mappings have seen survives SIGKILL`() throws {
      let home = try Home()
      let size = "0x7fe000"
      let client = try Client()
      for seed in 1...3 {
        try home.withDaemon(["--region", "demo:8M"]) { mount in
          mount.expectedLogLines = ["dead", "stale", "detach"]
          let memory = try client("map", mount("demo/data"), "0x800000")
          if seed > 1 {
            #expect(try client("reap", memory, "0x2000", size, "\(seed - 1)") == "0")
          }
          #expect(try client("sow", memory, "0x2000", size, "\(seed)") == "0")
          mount.process.kill()
          #expect(try client("reap", memory, "0x2000", size, "\(seed)") == "0")
        }
      }
      try home.withDaemon { mount in
        mount.expectedLogLines = ["dead", "stale", "detach"]
        let memory = try client("map", mount("demo/data"), "0x800000")
        #expect(try client("reap", memory, "0x2000", size, "3") == "0")
        client.kill()
      }
    }

    /// What clients have written is there, byte by byte, whenever the daemon is killed. Where the
    /// page cache is the memory, stores to a mapping count if they came before that.
    @Test func `two hundred kills under load`() throws {
      let home = try Home()
      var random = SystemRandomNumberGenerator()
      var checked = 0
      let rounds = 200 / MountMode.available.count / Deadline.slowness
      for round in 0..<rounds {
        try home.withDaemon(["--region", "demo:256K", "--region", "load:1M"]) { mount in
          mount.expectedLogLines = ["dead", "stale", "detach"]
          let way = ["write", "map", "sync"][round % 3]
          let writer = try mount.client()
          try writer.start(
            "journal", "journal", mount("demo/data"), "0x2000", way)
          let load = try mount.client()
          try load.start("storm", "storm", mount("load/data"), "20000", "\(round)")
          let bell = try mount.client()
          try bell.start("drink", "drink", bell.open(mount("demo/peer/doorbell")), "20000")
          if round % 4 == 0 { _ = try mount.once("mkdir", mount("r\(round)")) }
          mt_sleep(Int32.random(in: 5...60, using: &random))
          if mount.mode == .pageCache && way == "map" { #expect(try writer("journal-mark") == "0") }
          mount.process.kill()
          // Where the memory is a file of its own, it does not end with the daemon.
          #expect(try writer("journal-stop") == "0")
          let reply = try writer.asynchronousReply("journal")
          let written = Int(reply.prefix { $0.isNumber }) ?? 0
          load.kill()
          bell.kill()
          unsafe mt_umount_detach(home.mountpoint)

          // The file itself, and what the next daemon shows of it.
          for path in [home.store + "/regions/demo.region"] {
            let result = try writer("journal-check", path, "0x2000")
            #expect(result.hasPrefix("0 "), "round \(round), \(way): \(result) of \(reply)")
          }
          try home.withDaemon { next in
            next.expectedLogLines = mount.expectedLogLines
            let result = try writer("journal-check", next("demo/data"), "0x2000")
            #expect(result.hasPrefix("0 "), "round \(round), \(way): \(result) of \(reply)")
            #expect(try writer.number("mkdir", next("x\(round)")) == 0)
            #expect(try writer.number("rmdir", next("x\(round)")) == 0)
            checked += written
          }
        }
      }
      #expect(checked > 5 * rounds, "records")
    }
  }
}
