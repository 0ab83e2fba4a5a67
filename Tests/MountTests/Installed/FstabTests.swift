// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// The real mount(8), umount(8) and findmnt(8), as root, with lines of an fstab.
  @Suite(OnlyInMode(.pageCache)) struct Fstab {
    private static let layout = #"{ regions: [{ name: "frames", size: "64K" }] }"#

    @Test func `mount and umount`() throws {
      let world = try InstalledWorld()
      try world.write(Self.layout, to: "/etc/vsocfs/layout.json5")
      let options = "layout=/etc/vsocfs/layout.json5,allow_other"
      #expect(try world.run("mount -t vsocfs none /mnt/vsoc -o \(options)") == "")
      #expect(try world.run("ls /mnt/vsoc") == "frames\n")
      #expect(
        try world.run("findmnt -nro SOURCE,TARGET,FSTYPE /mnt/vsoc")
          == "none /mnt/vsoc fuse.vsocfs\n")
      #expect(world.mounts().first?[3].split(separator: ",").contains("allow_other") == true)
      // It is there for everybody, as far as the modes let them.
      #expect(try world.run("ls /mnt/vsoc", as: .user) == "frames\n")
      #expect(try world.shell("ls /mnt/vsoc/frames", as: .user).status != 0)
      try world.run("umount /mnt/vsoc")
      #expect(world.mounts().isEmpty)
      try world.waitUntilEmpty()
    }

    /// What an fstab may say, and options of the mount that come of it (or, with a `!`, do not).
    private static let options = [
      ("defaults", "rw,nosuid,nodev,allow_other"), ("rw", "rw,!ro"),
      ("suid,dev,noexec", "noexec"), ("noallow_other", "!allow_other"),
      ("nofail", ""), ("_netdev", ""), ("noauto", ""), ("auto", ""), ("nofail,_netdev,noauto", ""),
      ("comment=a region,x-a.b=c", ""), ("x-systemd.automount,x-systemd.requires=/tmp,X-foo", ""),
      ("user", "nosuid,nodev,noexec"), ("users", "noexec"), ("user,exec", "nosuid,!noexec"),
      ("owner", "nosuid,!noexec"), ("group", "nosuid,!noexec"), ("nouser", ""),
      ("noatime", "noatime"), ("sync,dirsync", "sync,dirsync"),
      ("relatime,lazytime,strictatime,nodiratime,iversion,mand,nosymfollow", ""),
      ("size=1M,region=r:64K,uid=1,gid=2,mode=600", ""), ("fsname=other", ""),
      ("region=links,dev_links,log_level=error", ""),
    ]

    @Test(.ifNotEmulated) func `options`() throws {
      let world = try InstalledWorld()
      // The page cache takes the daemon's own writes.
      let readOnly = MountMode.available.contains(.passthrough) ? [("ro", "ro")] : []
      for (list, expected) in Self.options + readOnly {
        let field = list.split(separator: " ").joined(separator: "\\040")
        try world.write("none /mnt/vsoc vsocfs \(field) 0 0", to: "/etc/fstab")
        #expect(try world.run("mount /mnt/vsoc; ls -d /mnt/vsoc/.vsocfs") == "/mnt/vsoc/.vsocfs\n")
        let mount = try #require(world.mounts().first, "\(list)")
        #expect(mount[0] == "none")
        let options = mount[3].split(separator: ",")
        for option in expected.split(separator: ",") {
          let isWanted = !option.hasPrefix("!")
          #expect(
            options.contains(isWanted ? option : option.dropFirst()) == isWanted,
            "\(list): \(options)")
        }
        #expect(try world.run("umount /mnt/vsoc") == "", "\(list)")
      }
      try world.waitUntilEmpty()
    }

    @Test(.ifNotEmulated) func `mount -a mounts once`() throws {
      let world = try InstalledWorld(
        fstab: """
          none /mnt/vsoc vsocfs region=one 0 0
          our\\040regions /mnt/with\\040space vsocfs region=x\\040y,fsname=ignored 0 0
          third /mnt/third fuse.vsocfs region=three,nofail 0 0
          fourth /mnt/fourth vsocfs noauto 0 0

          """)
      try world.run("mkdir '/mnt/with space' /mnt/third /mnt/fourth")
      for _ in 0..<3 {
        #expect(try world.run("mount -a") == "")
        #expect(
          try world.run("findmnt -rno SOURCE,TARGET -t fuse.vsocfs")
            == "none /mnt/vsoc\nour\\x20regions /mnt/with\\x20space\nthird /mnt/third\n")
      }
      #expect(
        try world.run("ls /mnt/vsoc '/mnt/with space' /mnt/third")
          == "/mnt/third:\nthree\n\n/mnt/vsoc:\none\n\n/mnt/with space:\nx y\n")
      // What is mounted is not mounted over, not even if asked for.
      let again = try world.shell("mount /mnt/vsoc")
      #expect(again.status == 32)
      #expect(again.output == "vsocfs: /mnt/vsoc: fuse.vsocfs is mounted there already\n")
      #expect(world.mounts().count == 1)
      try world.run("umount -a -t fuse.vsocfs")
      #expect(try world.run("grep -c fuse.vsocfs /proc/mounts || :") == "0\n")
      try world.waitUntilEmpty()
    }

    @Test(.ifNotEmulated) func `a line that cannot be mounted leaves the others alone`() throws {
      let world = try InstalledWorld(
        fstab: """
          none /mnt/broken vsocfs layout=/etc/vsocfs/broken.json5,nofail 0 0
          none /mnt/vsoc vsocfs nofail 0 0

          """)
      try world.write("{ regions: 7 }", to: "/etc/vsocfs/broken.json5")
      try world.run("mkdir /mnt/broken")
      let result = try world.shell("mount -a")
      // Some of it was mounted, in the words of mount(8).
      #expect(result.status == 64)
      #expect(
        result.lines.count == 1 && result.output.hasPrefix("vsocfs: /etc/vsocfs/broken.json5: "),
        "\(result.output)")
      #expect(world.mounts().count == 1 && world.mounts(at: "/mnt/broken").isEmpty)
      try world.run("umount /mnt/vsoc")
      try world.waitUntilEmpty()
    }

    @Test(.ifNotEmulated) func `mistakes`() throws {
      let world = try InstalledWorld()
      for (options, message) in [
        ("foo=1", "-o foo: unknown option"),
        ("layout=/nonexistent", "/nonexistent: cannot be read: No such file or directory"),
        ("size=1X", #"-o size: "1X" is not a size (bytes, or a number with K, M or G)"#),
        ("dev,subtype=x", "-o subtype: cannot be chosen: the type is always fuse.vsocfs"),
      ] {
        for fake in ["", "-f "] {
          let result = try world.shell("mount \(fake)-t vsocfs none /mnt/vsoc -o \(options)")
          #expect(result.output == "vsocfs: \(message)\n")
          #expect(result.status == 32)
        }
      }
      #expect(world.mounts().isEmpty)
      try world.waitUntilEmpty()
    }

    @Test(.ifNotEmulated) func `switches of mount`() throws {
      let world = try InstalledWorld()
      // Fake: what would be mounted is only looked at.
      #expect(try world.run("mount -f -t vsocfs none /mnt/vsoc -o region=one") == "")
      #expect(world.mounts().isEmpty)
      // Sloppy.
      #expect(try world.run("mount -s -t vsocfs none /mnt/vsoc -o foo,bar=1,region=one") == "")
      #expect(try world.run("ls /mnt/vsoc; umount /mnt/vsoc") == "one\n")
      let value = try world.shell("mount -s -t vsocfs none /mnt/vsoc -o foo,mode=9")
      #expect(value.status == 32 && value.output.hasPrefix("vsocfs: -o mode: "), "\(value.output)")
      // Verbose, and without an mtab.
      #expect(
        try world.run("mount -v -n -t vsocfs none /mnt/vsoc -o region=one")
          == "mount.vsocfs: /usr/local/bin/vsocfs -o rw,region=one,fsname=none -- /mnt/vsoc\n")
      try world.run("umount /mnt/vsoc")
      // Another name of the type, and one that is none.
      for type in ["fuse.vsocfs", "vsocfs.any"] {
        #expect(try world.run("mount -t \(type) none /mnt/vsoc; umount /mnt/vsoc") == "")
      }
      try world.waitUntilEmpty()
    }

    @Test(.ifNotEmulated) func `another namespace`() throws {
      let world = try InstalledWorld()
      let other = try world.start("exec unshare --mount sh -c 'echo $$; exec cat'")
      let pid = try #require(Int32(try other.line()))
      #expect(try world.run("mount -N \(pid) -t vsocfs none /mnt/vsoc -o region=one") == "")
      #expect(world.mounts().isEmpty)
      #expect(Mounts.entries(at: "/mnt/vsoc", seenBy: pid).count == 1)
      try world.run("umount -N \(pid) /mnt/vsoc")
      #expect(Mounts.entries(at: "/mnt/vsoc", seenBy: pid).isEmpty)
      other.closeInput()
      #expect(try other.wait() == 0)
      try world.waitUntilEmpty()
    }

    @Test(.ifNotEmulated) func `no remount`() throws {
      let world = try InstalledWorld(fstab: "none /mnt/vsoc vsocfs region=one 0 0\n")
      let message = "vsocfs: -o remount: not possible: unmount, and mount with the new options\n"
      try world.run("mount /mnt/vsoc")
      // With the line of the fstab, and with nothing but the type in /proc/mounts.
      for change in ["", "> /etc/fstab; "] {
        let result = try world.shell(change + "mount -o remount,ro /mnt/vsoc")
        #expect(result.output == message)
        #expect(result.status == 32)
        #expect(world.mounts().first?[3].hasPrefix("rw,") == true)
      }
      try world.run("umount /mnt/vsoc")
      try world.waitUntilEmpty()
    }

    /// As nobody but a test calls it.
    @Test(.ifNotEmulated) func `wrong calls of the helper`() throws {
      let world = try InstalledWorld()
      for (arguments, word) in [
        ("", "usage: "), ("none", "usage: "), ("none /mnt/vsoc -x", "-x: unknown option"),
        ("none /mnt/vsoc -o", "-o: unknown option, or one without its value"),
        ("none /mnt/vsoc -n more", "more: unexpected argument"),
        ("a,suid /mnt/vsoc", "a,suid: a source cannot have a comma"),
      ] {
        let result = try world.shell("mount.vsocfs \(arguments)")
        #expect(result.status == 1)
        #expect(
          result.lines.count == 1 && result.output.hasPrefix("mount.vsocfs: " + word),
          "\(result.output)")
      }
      let gone = try world.shell("rm /usr/local/bin/vsocfs; mount -t vsocfs none /mnt/vsoc")
      #expect(gone.status == 32)
      #expect(gone.output == "mount.vsocfs: /usr/local/bin/vsocfs: no such executable\n")
      #expect(world.mounts().isEmpty)
    }
  }
}
