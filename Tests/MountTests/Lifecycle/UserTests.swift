// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// Users other than root, who mount through fusermount3.
  @Suite(OnlyInMode(.pageCache)) struct Users {
    @Test func `a user mounts for himself alone, and unmounts`() throws {
      let user = try TestUser()
      let daemon = try user.mount()
      let options = user.mounts[0][3].split(separator: ",").map(String.init)
      for option in ["user_id=\(user.uid)", "nosuid", "nodev", "default_permissions"] {
        #expect(options.contains(option), "\(option) in \(options)")
      }
      #expect(!options.contains("allow_other"))
      #expect(user.mounts[0][2] == "fuse.vsocfs")

      let client = try user.client()
      #expect(try client("list", user.mountpoint) == ".vsocfs/demo")
      let demo = user.mountpoint + "/demo"
      #expect(
        try client("stat", demo + "/data").hasPrefix(
          "file 660 \(user.identity.uid) \(user.identity.gid) 1048576 "))
      let bell = try client.open(demo + "/peer/doorbell")
      try client.start("read", "read", bell, "100")
      try client.waitUntilBlocked()
      let sender = try client.open(demo + "/doorbell")
      #expect(try client("write", sender, "0x2000\n") == "7")
      #expect(try client.asynchronousReply("read") == #"0x00002000\n"#)
      #expect(try client("mkdir", user.mountpoint + "/mine") == "0")

      // Not even for root.
      for other in [user.root, user.stranger] {
        #expect(try user.client(as: other)("list", user.mountpoint) == "EACCES")
      }

      let busy = try user.shell("fusermount3 -u $M")
      #expect(busy.status == 1 && busy.output.contains("busy"))
      try client.finish()
      try user.unmount(daemon)
    }

    @Test func `memory is shared by whoever maps it`() throws {
      let user = try TestUser()
      let daemon = try user.mount()
      let (one, two) = try (user.client(), user.client())
      let data = user.mountpoint + "/demo/data"
      let first = try one("map", one.open(data), "0x3000")
      let fd = try two.open(data)
      let second = try two("map", fd, "0x3000")
      #expect(try one("store", first, "0x2000", "5") == "0")
      #expect(try two("exchange", second, "0x2000", "6") == "5")
      #expect(try one("load", first, "0x2000") == "6")
      // The daemon takes part.
      try one.start("wait", "cond-wait", "3", "0x2000", "6")
      try one.waitUntilBlocked()
      #expect(try two("store", second, "0x2000", "7") == "0")
      #expect(try two("cond-wake", fd, "0x2000") == "0")
      #expect(try one.asynchronousReply("wait") == "0 wakes=1")
      #expect(
        try user.shell("grep ^mode $M/demo/info").output == "mode page-cache\n")
      try one.finish()
      try two.finish()
      try user.unmount(daemon, with: "umount")
    }

    /// The owner of a mount may abort its connection, where the kernel's files for that are mounted;
    /// elsewhere it ends with the process.
    @Test(arguments: [SIGTERM, SIGINT], [false, true])
    func `signals end it while it is in use`(_ signal: Int32, _ hasControl: Bool) throws {
      let user = try TestUser(hasControl: hasControl)
      let daemon = try user.mount()
      let client = try user.client()
      let demo = user.mountpoint + "/demo"
      for file in ["data", "doorbell", "signal", "info", "peer/data", "peer/doorbell"] {
        _ = try client.open(demo + "/" + file, "r")
      }
      // Memory that is mapped, and has what is not written back.
      let memory = try client("map", client.open(demo + "/data"), "0x3000")
      #expect(try client("store", memory, "0x2000", "5") == "0")
      let bell = try client.open(demo + "/doorbell", "r")
      try client.start("read", "read", bell, "100")
      try client.waitUntilBlocked()
      kill(daemon, signal)
      try user.expectEnd(of: daemon)
      #expect(try client.asynchronousReply("read").hasPrefix("E"))
      #expect(try client("read", bell, "100").hasPrefix("E"))
      #expect(try client("list", user.mountpoint) == "")
    }

    /// Also with memory in use, which the kernel writes back to the daemon as that ends.
    @Test(arguments: [false, true])
    func `a dead mount of one's own makes way`(_ hasControl: Bool) throws {
      let user = try TestUser(hasControl: hasControl)
      let dead = try user.mount()
      let client = try user.client()
      let facts = try client.open(user.mountpoint + "/.vsocfs/stats", "r")
      let data = try client.open(user.mountpoint + "/demo/data")
      let memory = try client("map", data, "0x3000")
      #expect(try client("store", memory, "0x2000", "5") == "0")
      try client.start("condition", "cond-wait", data, "0x2000", "5")
      try client.waitUntilBlocked()
      kill(dead, SIGKILL)
      #expect(try client.asynchronousReply("condition").hasPrefix("E"))
      try eventually("a dead mount") { try client("list", user.mountpoint) == "ENOTCONN" }
      // What is asked in the very moment in which the connection ends is aborted.
      try eventually("no connection") { try client("read", facts, "1") == "ENOTCONN" }
      let daemon = try user.mount(["--region", "next"])
      #expect(try user.client()("list", user.mountpoint) == ".vsocfs/next")
      // One that lives does not.
      try user.expectRefusal(mentioning: "mounted there already", leaving: 1)
      try user.unmount(daemon)
    }

    @Test func `a new mount is safe from the end of the old one`() throws {
      let user = try TestUser()
      var daemon = try user.mount()
      for _ in 0..<10 {
        #expect(try user.shell("fusermount3 -u $M && exec $W/vsocfs $M").status == 0)
        try eventually("the daemon's end") { !Proc.isAlive(daemon) }
        #expect(user.mounts.count == 1)
        daemon = try #require(Proc.processes(withLastArgument: user.mountpoint).first)
      }
      try user.unmount(daemon)
    }

    @Test func `owners are what the user says`() throws {
      let user = try TestUser()
      let daemon = try user.mount(["-o", "uid=0,gid=12", "--region", "demo"])
      let client = try user.client()
      #expect(try client("stat", user.mountpoint + "/demo").hasPrefix("dir 770 0 12 "))
      #expect(try client("list", user.mountpoint + "/demo") == "EACCES")
      #expect(try client("chmod", user.mountpoint + "/demo", "0777") == "EPERM")
      try client.finish()
      try user.unmount(daemon)
    }

    @Test func `others are let in where fuse.conf permits it`() throws {
      let user = try TestUser(configuration: "user_allow_other\n")
      let daemon = try user.mount(["-o", "allow_other", "--region", "demo"])
      #expect(user.mounts[0][3].split(separator: ",").contains("allow_other"))
      let other = try user.client(as: user.stranger)
      #expect(try other("list", user.mountpoint) == ".vsocfs/demo")
      #expect(try other("open", user.mountpoint + "/demo/data") == "EACCES")
      let client = try user.client()
      #expect(try client("chmod", user.mountpoint + "/demo", "0777") == "0")
      let bell = try other.open(user.mountpoint + "/demo/doorbell")
      #expect(try other("write", bell, "0x2000\n") == "7")
      try other.finish()
      try user.unmount(daemon)
    }
  }

  /// What users are refused.
  @Suite(OnlyInMode(.pageCache)) struct UserRefusals {
    @Test(arguments: ["", "# user_allow_other\n", "mount_max = 10\n"])
    func `allow_other without leave`(_ configuration: String) throws {
      let user = try TestUser(configuration: configuration)
      try user.expectRefusal(
        ["-o", "allow_other"], mentioning: "'user_allow_other' is set in /etc/fuse.conf")
    }

    @Test func `mount points that are not the user's`() throws {
      let user = try TestUser()
      let setUp = try user.shell(
        "cd $W; mkdir theirs; mkdir -m 1777 shared; mkdir -p closed/inside; chmod 700 closed",
        as: user.root)
      #expect(setUp.status == 0, "\(setUp.output)")
      for name in ["theirs", "shared", "closed", "closed/inside", "missing"] {
        try user.expectRefusal(at: user.world + "/" + name, mentioning: "/" + name)
      }
    }

    @Test func `no fusermount3`() throws {
      let user = try TestUser()
      try user.expectRefusal(
        environment: ["PATH": "/nonexistent"], mentioning: "package fuse3")
    }

    @Test func `no way to the device`() throws {
      let user = try TestUser()
      #expect(try user.shell("chmod 600 /dev/fuse", as: user.root).status == 0)
      try user.expectRefusal(mentioning: "/dev/fuse: Permission denied")
      #expect(try user.shell("mount -t tmpfs none /dev", as: user.root).status == 0)
      try user.expectRefusal(mentioning: "device not found")
    }

    @Test func `passthrough is not for users`() throws {
      let user = try TestUser()
      try user.expectRefusal(["-o", "passthrough=on"], mentioning: "CAP_SYS_ADMIN")
    }
  }
}

extension TestUser {
  /// Checks that there is no mount: one line, status 1, and no more mounts than before.
  fileprivate func expectRefusal(
    _ arguments: [String] = [], at mountpoint: String? = nil, environment: [String: String] = [:],
    mentioning word: String, leaving count: Int = 0,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for foreground in [["-f"], []] {
      let result = try run(
        daemon, foreground + arguments + [mountpoint ?? self.mountpoint], environment: environment)
      #expect(result.status == 1, sourceLocation: sourceLocation)
      #expect(
        result.lines.count == 1 && result.output.hasPrefix("vsocfs: "), "\(result.output)",
        sourceLocation: sourceLocation)
      #expect(
        result.output.contains(word), "no \(word) in: \(result.output)",
        sourceLocation: sourceLocation)
      #expect(mounts.count == count, sourceLocation: sourceLocation)
    }
  }
}
