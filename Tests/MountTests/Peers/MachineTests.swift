// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// Machines at the ends of a region, without the machine: a program that speaks the ivshmem protocol
  /// as QEMU does (Scripts/machines.py).
  @Suite struct Machines {
    @Test func `the handshake, and who comes and goes`() throws {
      try withMount { mount in try mount.python("machines.py", "handshake") }
    }

    @Test func `all have the same memory`() throws {
      try withMount { mount in try mount.python("machines.py", "memory") }
    }

    @Test func `a ring reaches everybody at an end`() throws {
      try withMount { mount in try mount.python("machines.py", "rings") }
    }

    @Test func `a machine wakes all kinds of waiters`() throws {
      try withMount { mount in try mount.python("machines.py", "waiters") }
    }

    /// Several rings in a row, each of which the machine there has taken before anybody else looks.
    @Test func `the mount hears a ring that a machine was faster to take`() throws {
      try withMount { mount in
        try mount.python("machines.py", "bursts", "\(2000 / Deadline.slowness)", within: 60_000)
      }
    }

    @Test func `an id is gone before it comes again`() throws {
      try withMount { mount in try mount.python("machines.py", "ids") }
    }

    @Test func `a machine makes room for a writer`() throws {
      try withMount { mount in try mount.python("machines.py", "full_table") }
    }

    @Test(arguments: ["machine_to_mount", "mount_to_machine", "machine_to_machine"])
    func `100,000 offsets at full speed`(_ way: String) throws {
      try withMount { mount in
        let count = 100_000 / Deadline.slowness
        try mount.python("rings.py", way, "\(count)", within: 120_000)
      }
    }

    /// Whoever waits for a peer waits in the kernel.
    @Test func `idle machines cost nothing`() throws {
      try withHostSocket { mount, path in
        let peers = try mount.startPeers(hostSocket: path)
        // They end when they are forgotten.
        try withExtendedLifetime(peers) { try expectIdle(mount, milliseconds: 1000) }
      }
    }
  }

  /// The sockets of a region as files of the tree.
  @Suite struct PeerSockets {
    @Test func `they are files of their end`() throws {
      try withMount { mount in try mount.python("peer_sockets.py", "sockets") }
    }

    @Test func `a machine keeps its region and the mount`() throws {
      try withMount { mount in
        try mount.python("peer_sockets.py", "busy")
        mount.expectCleanEnd()
      }
    }

    @Test func `who may connect`() throws {
      try withMount { mount in try mount.python("peer_sockets.py", "access") }
    }

    /// A look at them keeps nothing: neither the mount nor a region.
    @Test func `a listing leaves nothing behind`() throws {
      try withMount(["--region", "demo", "--region", "more"]) { mount in
        #expect(try mount.shell("ls -lR $M > /dev/null; mkdir $M/made").status == 0)
        #expect(try mount.shell("ls -lR $M > /dev/null; rmdir $M/made $M/more").output == "")
        #expect(try mount.shell("ls -lR $M | grep -c ' ivshmem$'").lines == ["2"])
        #expect(try mount.shell("stat -c %F $M/demo/ivshmem").lines == ["socket"])
        try eventually("unmounted") { try mount.shell("umount $M").status == 0 }
        mount.expectCleanEnd()
      }
    }

    /// Whatever is connected is let go.
    @Test(arguments: [true, false])
    func `the daemon ends while peers are there`(_ isKilled: Bool) throws {
      try withDirectory { directory in
        let path = directory.path + "/socket"
        try withMount(["--region", "demo", "--host-socket", path]) { mount in
          let peers = try mount.startPeers(hostSocket: path)
          if isKilled { mount.process.kill() } else { mount.terminate() }
          for peer in peers {
            #expect(try peer.line() == "closed")
            #expect(try peer.wait() == 0)
          }
          #expect(exists(path) == isKilled)
        }
      }
    }
  }

  /// What cannot be given to a machine.
  @Suite struct RefusedMachines {
    @Test(arguments: ["odd", "odd/peer", "managed", "managed/peer"])
    func `a client gets nothing but an end`(_ end: String) throws {
      let layout = """
        { regions: [{ name: "odd", size: "12K" }, { name: "manager", size: "64K" },
          { name: "managed", size: "64K", managed_by: "manager" }] }
        """
      try withLayout(layout) { mount in
        mount.expectedLogLines = ["power of two", "managed"]
        try mount.python("hostile_machines.py", "refused", end, "\(mount.pid)")
        #expect(mount.log.contains(end.hasPrefix("odd") ? "power of two" : "EPERM"))
      }
    }
  }

  /// A user's own mount, made without privileges.
  @Suite(OnlyInMode(.pageCache)) struct UsersPeers {
    @Test func `machines and host clients`() throws {
      let user = try TestUser()
      let scripts = Programs.script("")
      #expect(try user.shell("cp -r \(scripts) $W/scripts", as: user.root).status == 0)
      let path = user.world + "/home/socket"
      let daemon = try user.mount(["--region", "demo", "--host-socket", path])
      let programs = [
        ["machines.py", user.mountpoint, "handshake"], ["machines.py", user.mountpoint, "memory"],
        ["machines.py", user.mountpoint, "rings"], ["machines.py", user.mountpoint, "waiters"],
        ["host_clients.py", user.mountpoint, "talk", path],
        ["host_clients.py", user.mountpoint, "slow", path],
      ]
      for program in programs {
        let result = try user.run(
          "/usr/bin/env", ["python3", user.world + "/scripts/" + program[0]] + program.dropFirst())
        #expect(result.status == 0, "\(program): \(result.output)")
      }
      #expect(try user.shell("stat -c '%F %a' \(path)").output == "socket 600\n")
      try user.unmount(daemon)
      #expect(try user.shell("test ! -e \(path)").status == 0)
    }
  }
}

/// Runs `body` with a directory that is removed afterwards, whatever is kept of what it returns.
func withDirectory<Result>(_ body: (TemporaryDirectory) throws -> Result) throws -> Result {
  let directory = try TemporaryDirectory()
  return try withExtendedLifetime(directory) { try body(directory) }
}
