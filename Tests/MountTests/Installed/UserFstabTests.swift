// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// An ordinary user and an fstab that lets him mount.
  @Suite(OnlyInMode(.pageCache)) struct UserFstab {
    private static let place = "/home/\(InstalledWorld.userName)/vsoc"

    /// A world in which the user has a directory of his own, with an fstab line for it.
    private static func world(
      _ options: String, fuseConfiguration: String = ""
    ) throws -> InstalledWorld {
      let world = try InstalledWorld(
        fuseConfiguration: fuseConfiguration, fstab: "none \(place) vsocfs \(options) 0 0\n")
      try world.run("mkdir vsoc", as: .user)
      return world
    }

    /// mount(8) runs its helper as the user, who has what FUSE gives to users; it takes rights away
    /// as it does for any file system.
    @Test func `mount and umount`() throws {
      let world = try Self.world("user")
      for (options, expected) in [
        ("user,noauto", ["nosuid", "nodev", "noexec"]), ("users", ["nosuid", "nodev", "noexec"]),
        ("user,exec,region=one", ["nosuid", "nodev"]), ("owner", ["nosuid", "nodev"]),
        ("group,nofail,x-systemd.automount", ["nosuid", "nodev"]),
      ] {
        try world.write("none \(Self.place) vsocfs \(options) 0 0", to: "/etc/fstab")
        #expect(try world.run("mount ~/vsoc", as: .user) == "")
        let mount = try #require(world.mounts(at: Self.place).first)
        #expect(mount[0] == "none" && mount[2] == "fuse.vsocfs")
        let all = mount[3].split(separator: ",").map(String.init)
        for option in expected + ["user_id=\(world.uid)"] {
          #expect(all.contains(option), "no \(option) in \(all)")
        }
        #expect(all.contains("noexec") == expected.contains("noexec"))
        #expect(!all.contains("allow_other"))
        #expect(
          try world.run("mkdir ~/vsoc/mine; stat -c %u ~/vsoc/mine/data", as: .user)
            == "\(world.uid)\n")
        // A second time is one too many, and nobody else gets in.
        let again = try world.shell("mount ~/vsoc", as: .user)
        #expect(again.status == 32)
        #expect(again.output == "vsocfs: \(Self.place): fuse.vsocfs is mounted there already\n")
        #expect(try world.shell("ls \(Self.place)").status != 0)
        #expect(try world.run("umount ~/vsoc", as: .user) == "")
        #expect(world.mounts(at: Self.place).isEmpty)
      }
      try world.waitUntilEmpty()
    }

    @Test(.ifNotEmulated) func `what is not the user's`() throws {
      let world = try InstalledWorld(fstab: "none /mnt/vsoc vsocfs users,noauto 0 0\n")
      let theirs = try world.shell("mount /mnt/vsoc", as: .user)
      #expect(theirs.status == 32)
      #expect(
        theirs.output.hasSuffix("user has no write access to mountpoint /mnt/vsoc\n"),
        "\(theirs.output)")
      // A mount of root's is not his to unmount.
      try world.run("mount /mnt/vsoc")
      try world.run("echo 'none /mnt/vsoc vsocfs noauto 0 0' > /etc/fstab")
      #expect(try world.shell("umount /mnt/vsoc", as: .user).status != 0)
      #expect(world.mounts().count == 1)
      try world.run("umount /mnt/vsoc")
      try world.waitUntilEmpty()
    }

    @Test(.ifNotEmulated) func `others are let in where fuse.conf permits it`() throws {
      let refusing = try Self.world("user,noauto,allow_other")
      let refused = try refusing.shell("mount ~/vsoc", as: .user)
      #expect(refused.status == 32)
      #expect(
        refused.lines.count == 1 && refused.output.contains("user_allow_other"),
        "\(refused.output)")

      let world = try Self.world(
        "user,noauto,allow_other,region=one", fuseConfiguration: "user_allow_other\n")
      #expect(try world.run("mount ~/vsoc", as: .user) == "")
      #expect(try world.run("ls \(Self.place)") == "one\n")
      // Root may unmount it.
      try world.run("umount \(Self.place)")
      try world.waitUntilEmpty()
    }
  }
}
