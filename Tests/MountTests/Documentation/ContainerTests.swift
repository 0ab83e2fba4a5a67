// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension MountTests {
  /// Ends of regions in containers, as docs/operations.md has it.
  @Suite(.enabled(if: unsafe access("/usr/bin/bwrap", X_OK) == 0)) struct Containers {
    /// A world with two regions mounted, in the mode of this test.
    private func world(_ options: String = "") throws -> InstalledWorld {
      let world = try InstalledWorld()
      try world.run(
        "vsocfs \(MountMode.current.arguments.joined(separator: " ")) \(options)"
          + " --region demo --region other /mnt/vsoc")
      return world
    }

    /// A container with nothing but programs, libraries and a directory of the mount as /region.
    private func container(_ directory: String, _ script: String, _ options: String = "") -> String
    {
      "bwrap --unshare-all --die-with-parent --ro-bind /usr /usr --symlink usr/bin /bin"
        + " --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev \(options)"
        + " --ro-bind \(Programs.script("contained.py")) /program --bind \(directory) /region sh -euc '\(script)'"
    }

    private static let program = "exec python3 /program"

    private func unmount(_ world: InstalledWorld) throws {
      try eventually("unmounted") { try world.shell("umount /mnt/vsoc").status == 0 }
      try world.waitUntilEmpty()
    }

    @Test func `a peer is all that a container sees, and may use`() throws {
      let world = try world()
      let waiting = try world.start("exec dd if=/mnt/vsoc/demo/doorbell bs=11 count=1 status=none")
      try Proc.waitForSleepers(waiting.pid, at: .request, count: 1)
      let script = """
        ls / /region
        ls /region/.. | grep -c -e demo -e other -e vsocfs || :
        cat /region/info | head -n 2
        echo 0x2000 > /region/doorbell
        dd if=/region/data bs=4 skip=14 count=1 status=none
        """
      #expect(
        try world.run(container("/mnt/vsoc/demo/peer", script))
          == """
          /:
          bin
          dev
          lib
          lib64
          proc
          program
          region
          usr

          /region:
          data
          doorbell
          info
          ivshmem
          signal
          0
          name demo
          end host
          demo
          """)
      #expect(try waiting.line() == "0x00002000")
      // By no name does it get further, nor by handles of files, which is what opens more than names do.
      for path in ["../demo/data", "../../mnt/vsoc/demo/data", "../data", "peer/data"] {
        let result = try world.shell(container("/mnt/vsoc/demo/peer", "cat /region/\(path)"))
        #expect(result.status != 0)
      }
      let handles = try world.run(container("/mnt/vsoc/demo/peer", "\(Self.program) handles"))
      #expect(handles == "EPERM\n")
      try unmount(world)
    }

    @Test func `the memory is the same inside and outside`() throws {
      let world = try world()
      try world.run(
        "printf outside | dd of=/mnt/vsoc/demo/data bs=1 seek=$((0x2100)) conv=notrunc status=none")
      #expect(try world.run(container("/mnt/vsoc/demo", "\(Self.program) map")) == "outside\n")
      #expect(
        try world.run("dd if=/mnt/vsoc/demo/data bs=1 skip=8192 count=5 status=none") == "hello")
      try unmount(world)
    }

    /// Ids count as the host has them: root of a container is whoever it is outside.
    @Test func `user namespaces`() throws {
      let world = try world()
      let user = InstalledWorld.userName
      try world.run("mkdir /mnt/region; mount --bind /mnt/vsoc/demo/peer /mnt/region")
      let asRoot = container(
        "/mnt/region", "id -u; stat -c %u /region/data; echo 0x2000 > /region/doorbell",
        "--uid 0 --gid 0")
      let refused = try world.shell(asRoot, as: .user)
      #expect(refused.status != 0 && refused.output.contains("Permission denied"))
      try world.run("chown \(user) /mnt/vsoc/demo/peer")
      #expect(try world.run(asRoot, as: .user) == "0\n0\n")
      #expect(
        try world.run("grep incoming_posted /mnt/vsoc/demo/info") == "incoming_posted 1\n")
      // Owners that are unknown there.
      try world.run("chmod 755 /mnt/vsoc/other")
      #expect(
        try world.run("unshare --user stat -c %u /mnt/vsoc/other", as: .user) == "65534\n")
      try world.run("umount /mnt/region")
      try unmount(world)
    }

    @Test func `without allow_other it is the mounting user's in any namespace`() throws {
      let world = try world("-o noallow_other")
      #expect(
        try world.run("unshare --user --map-root-user ls /mnt/vsoc") == "demo\nother\n")
      let stranger = try world.shell("ls /mnt/vsoc", as: .user)
      #expect(stranger.status != 0 && stranger.output.contains("Permission denied"))
      try unmount(world)
    }

    @Test(OnlyInMode(.pageCache)) func `a mount in a user namespace is nobody's outside`() throws {
      let world = try InstalledWorld()
      let inside = try world.start(
        """
        exec unshare --user --map-root-user --mount sh -euc '
          vsocfs --region demo "$0"
          grep ^mode "$0/demo/info"
          echo $$
          read line
          umount "$0"
          echo ended' "$HOME/vsoc"
        """.replacing("exec", with: "mkdir vsoc; exec"), as: .user)
      #expect(try inside.line() == "mode page-cache")
      let pid = try inside.line()
      let path = "/proc/\(pid)/root/home/\(InstalledWorld.userName)/vsoc"
      for person in [InstalledWorld.Person.root, .user] {
        let result = try world.shell("ls \(path)", as: person)
        #expect(result.status != 0 && result.output.contains("Permission denied"))
      }
      try inside.send(line: "")
      #expect(try inside.line() == "ended")
      #expect(try inside.wait() == 0)
      try world.waitUntilEmpty()
    }

    /// What a container has bound keeps the daemon, though not the name outside.
    @Test func `umount outside, and a daemon that is killed`() throws {
      let world = try world()
      let inside = try world.start(
        container("/mnt/vsoc/demo/peer", "echo ready; while read path; do ls $path || :; done"))
      #expect(try inside.line() == "ready")
      try eventually("unmounted") { try world.shell("umount /mnt/vsoc").status == 0 }
      #expect(world.mounts().isEmpty)
      try inside.send(line: "/region/data")
      #expect(try inside.line() == "/region/data")
      // Another mount at the same place is not the one that it has.
      try world.run("vsocfs --region demo /mnt/vsoc; rmdir /mnt/vsoc/demo; ls /mnt/vsoc")
      try inside.send(line: "/region/data")
      #expect(try inside.line() == "/region/data")
      try unmountOthers(world)
      inside.closeInput()
      #expect(try inside.wait() == 0)
      try world.waitUntilEmpty()
    }

    private func unmountOthers(_ world: InstalledWorld) throws {
      try eventually("unmounted") { try world.shell("umount /mnt/vsoc").status == 0 }
    }

    @Test func `a container has to be started again with the daemon`() throws {
      let world = try world()
      let inside = try world.start(
        container("/mnt/vsoc/demo/peer", "echo ready; while read path; do ls $path || :; done"))
      #expect(try inside.line() == "ready")
      let daemons = world.processes.filter { pid in
        contents(of: "/proc/\(pid)/comm") == "vsocfs\n"
      }
      #expect(daemons.count == 1)
      for daemon in daemons { kill(daemon, SIGKILL) }
      try eventually("the daemon's end") { daemons.allSatisfy { !Proc.isAlive($0) } }
      try eventually("a new daemon") {
        try world.shell("vsocfs --region demo /mnt/vsoc").status == 0
      }
      try inside.send(line: "/region/data")
      #expect(try inside.line().contains("Transport endpoint is not connected"))
      #expect(
        try world.run(container("/mnt/vsoc/demo/peer", "ls /region/data")) == "/region/data\n")
      inside.closeInput()
      #expect(try inside.wait() == 0)
      try unmount(world)
    }
  }
}
