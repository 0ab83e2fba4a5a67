// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// How the daemon ends, and what it leaves.
  @Suite struct Ending {
    @Test(arguments: [SIGTERM, SIGINT])
    func `signals end it cleanly`(_ signal: Int32) throws {
      try withMount { mount in
        // With everything in use that can be.
        let client = try mount.client()
        for file in ["data", "doorbell", "signal", "info", "peer/data", "peer/doorbell"] {
          _ = try client.open(mount("demo/" + file), "r")
        }
        let memory = try client("map", mount("demo/data"), "0x3000")
        mount.process.signal(signal)
        try mount.waitForNotification("STOPPING=1")
        mount.expectCleanEnd()
        // The memory is still there for those who map it.
        #expect(try client("store", memory, "0x2000", "5") == "0")
        #expect(try client("load", memory, "0x2000") == "5")
        // The streams are not.
        #expect(try client("read", "4", "100").hasPrefix("E"))
        #expect(try client("list", mount.mountpoint) == "")
      }
    }

    @Test func `umount ends it cleanly`() throws {
      try withMount { mount in
        let client = try mount.client()
        let fd = try client.open(mount("demo/doorbell"))
        #expect(unsafe mt_umount(mount.mountpoint) == -EBUSY)
        #expect(try client("poll", fd, "out", "0") == "out")
        #expect(try client("close", fd) == "0")
        try eventually("umount") { unsafe mt_umount(mount.mountpoint) == 0 }
        mount.expectCleanEnd()
      }
    }

    /// Detached, it serves those who have it open until they are done.
    @Test func `a lazy umount ends it after the last user`() throws {
      try withMount { mount in
        let client = try mount.client()
        let receiver = try client.open(mount("demo/peer/doorbell"))
        let sender = try client.open(mount("demo/doorbell"))
        try client.start("read", "read", receiver, "100")
        try client.waitUntilBlocked()
        #expect(unsafe mt_umount_detach(mount.mountpoint) == 0)
        #expect(!Mounts.contains(mount.mountpoint))
        #expect(try client("write", sender, "0x2000\n") == "7")
        #expect(try client.asynchronousReply("read") == #"0x00002000\n"#)
        #expect(try !mount.process.hasEnded)
        try client.finish()
        mount.expectCleanEnd()
      }
    }

    @Test func `two mounts know nothing of each other`() throws {
      try withMount { first in
        try withMount { second in
          let client = try first.client()
          #expect(try client("mkdir", first("only-here")) == "0")
          #expect(try client("list", second.mountpoint) == ".vsocfs/demo")
          #expect(try client("write", first("demo/doorbell"), "0x2000\n") == "7")
          let bell = try client.open(second("demo/peer/doorbell"), "rw,nonblock")
          #expect(try client("read", bell, "100") == "EAGAIN")
        }
        #expect(try first.once("list", first.mountpoint) == ".vsocfs/demo/only-here")
      }
    }

    @Test func `a live mount is refused and goes on`() throws {
      try withMount { mount in
        for arguments in [["-f"], []] {
          let result = try runDaemon(arguments + ["--region", "other", mount.mountpoint])
          #expect(result.status == 1)
          #expect(result.lines.count == 1 && result.output.hasPrefix("vsocfs: "))
        }
        #expect(Mounts.entries(at: mount.mountpoint).count == 1)
        #expect(try mount.once("list", mount.mountpoint) == ".vsocfs/demo")
      }
    }

    /// Nobody is left hanging by a daemon that is killed, and the next one clears up.
    @Test func `after SIGKILL`() throws {
      let directory = try TemporaryDirectory()
      let mountpoint = directory.path + "/mnt"
      unsafe mkdir(mountpoint, 0o755)
      let dead = try MountedDaemon(["--region", "demo"], at: mountpoint, in: directory)
      let client = try Client()
      defer {
        client.kill()
        dead.clearAway()
      }
      let data = try client.open(dead("demo/data"))
      let memory = try client("map", data, "0x3000")
      #expect(try client("store", memory, "0x2000", "7") == "0")
      let bell = try client.open(dead("demo/doorbell"))
      try client.start("poll", "poll", bell, "in", "-1")
      try client.start("read", "read", bell, "100")
      try client.start("condition", "cond-wait", data, "0x2000", "7")
      try client.waitUntilBlocked(in: .poll)
      try client.waitUntilBlocked(threads: 2)

      dead.process.kill()
      #expect(try client.asynchronousReply("poll").contains("err"))
      #expect(try client.asynchronousReply("read").hasPrefix("E"))
      #expect(try client.asynchronousReply("condition").hasPrefix("E"))
      #expect(try client("stat", dead("demo")) == "ENOTCONN")
      #expect(try client("maybe", data) == "ENOTCONN")
      #expect(try client("poll", bell, "in", "0") == "err")
      // Passthrough: mappings and descriptors reach the memory without the daemon.
      #expect(try client("load", memory, "0x2000") == "7")
      #expect(try client("exchange", memory, "0x2000", "8") == "7")
      #expect(try client("read", data, "2", "0") != "")
      let again = try client("map", data, "0x3000")
      #expect(try client("load", again, "0x2000") == "8")

      let next = try MountedDaemon(["--region", "next"], at: mountpoint, in: directory)
      defer { next.clearAway() }
      next.expectedLogLines = ["dead", "stale", "detach"]
      #expect(Mounts.entries(at: mountpoint).count == 1)
      let other = try next.client()
      #expect(try other("list", mountpoint) == ".vsocfs/next")
      #expect(try other("maybe", next("next/data")) == "0")
      // The old one's client has not moved.
      #expect(try client("load", memory, "0x2000") == "8")
      #expect(try client("maybe", data) == "ENOTCONN")
    }
  }

  /// Without -f: the command comes back when the mount is ready, and the daemon stays.
  @Suite struct Background {
    @Test(arguments: [SIGTERM, SIGINT])
    func `starts, serves and ends`(_ signal: Int32) throws {
      let directory = try TemporaryDirectory()
      let mountpoint = directory.path + "/mnt"
      unsafe mkdir(mountpoint, 0o755)
      defer {
        for pid in Proc.processes(withLastArgument: mountpoint) { kill(pid, SIGKILL) }
        for _ in 0..<4 where Mounts.contains(mountpoint) { unsafe mt_umount_detach(mountpoint) }
      }
      // The end of its output shows that the daemon does not hold on to it.
      let result = try runDaemon(["--region", "demo", mountpoint])
      #expect(result.status == 0)
      #expect(result.output == "")
      #expect(Mounts.entries(at: mountpoint).count == 1)
      let client = try Client()
      #expect(try client("list", mountpoint) == ".vsocfs/demo")
      #expect(try client("write", mountpoint + "/demo/doorbell", "0x2000\n") == "7")

      let daemons = Proc.processes(withLastArgument: mountpoint)
      #expect(daemons.count == 1)
      let daemon = try #require(daemons.first)
      let status = contents(of: "/proc/\(daemon)/stat")?.split(separator: " ").map(String.init)
      // A session of its own, away from this terminal and directory.
      #expect(status?[5] == "\(daemon)")
      var buffer = [CChar](repeating: 0, count: 4096)
      for fd in 0...2 {
        let count = unsafe readlink("/proc/\(daemon)/fd/\(fd)", &buffer, 4095)
        let target = String(
          decoding: buffer.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        #expect(target == "/dev/null", "descriptor \(fd)")
      }
      let count = unsafe readlink("/proc/\(daemon)/cwd", &buffer, 4095)
      #expect(count == 1 && buffer[0] == 0x2f)

      client.kill()
      kill(daemon, signal)
      try eventually("the daemon's end") { !Proc.isAlive(daemon) }
      #expect(!Mounts.contains(mountpoint))
      #expect(Proc.processes(withLastArgument: mountpoint).isEmpty)
    }

    @Test func `relative paths are taken from where it was started`() throws {
      let directory = try TemporaryDirectory()
      try createFile(directory.path + "/layout.json5", #"{ regions: [{ name: "relative" }] }"#)
      let mountpoint = directory.path + "/mnt"
      unsafe mkdir(mountpoint, 0o755)
      defer {
        for pid in Proc.processes(withLastArgument: mountpoint)
          + Proc.processes(withLastArgument: "mnt")
        {
          kill(pid, SIGTERM)
        }
        _ = try? eventually("unmounted") { !Mounts.contains(mountpoint) }
        for _ in 0..<4 where Mounts.contains(mountpoint) { unsafe mt_umount_detach(mountpoint) }
      }
      let shell = try ChildProcess(
        "/bin/sh", ["-c", "cd \(directory.path) && \(Programs.daemon) --layout layout.json5 mnt"])
      #expect(try shell.rest() == "")
      #expect(try shell.wait() == 0)
      let client = try Client()
      #expect(try client("list", mountpoint) == ".vsocfs/relative")
      client.kill()
      #expect(unsafe mt_umount(mountpoint) == 0)
    }
  }
}
