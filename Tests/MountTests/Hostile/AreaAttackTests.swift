// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// What a holder of areas does to be had by others, or to end the daemon.
  @Suite struct AreaAttacks {
    private static let layout = HostileLayout.text(
      """
      { name: "manager", size: "1M", mode: "0666" },
      { name: "buffers", size: "1M", managed_by: "manager", mode: "0666" },
      """)
    private static let duration = 3000

    @Test func `a manager that is managed, in use by many`() throws {
      let layout = """
        { regions: [
          { name: "top", size: "64K" },
          { name: "mid", size: "64K", managed_by: "top" },
          { name: "leaf", size: "64K", managed_by: "mid" },
        ] }
        """
      try withLayout(layout) { mount in
        let attack = try mount.attack(
          "nest", mount("mid/data"), mount("leaf/data"), "\(Self.duration)", as: nil)
        defer { attack.kill() }
        let counts = try attack.line(within: 3 * Self.duration).split(separator: " ")
          .compactMap { Int($0) }
        #expect(counts.count == 2 && counts.allSatisfy { $0 > 0 }, "\(counts)")
        #expect(try attack.line(within: 20_000) == "free")
      }
    }

    /// It ignores them while a file's attributes change, and while somebody writes behind its end.
    @Test(OnlyInMode(.pageCache), arguments: ["write", "times"])
    func `the kernel does not take the sizes of areas`(_ kind: String) throws {
      try withLayout(Self.layout) { mount in
        mount.expectedLogLines = ["cannot be had (SIGBUS)", "is held still"]
        let attack = try mount.attack(
          "claim-sizes", mount("buffers/data"), kind, "\(Self.duration)")
        defer { attack.kill() }
        try mount.victimRings()
        let counts = try attack.line(within: 5 * Self.duration).split(separator: " ")
          .compactMap { Int($0) }
        #expect(counts.count == 2 && counts[0] > 0, "\(counts)")
        #expect(try attack.wait() == 0)
        // Everybody else has areas as ever.
        let client = try mount.client()
        let fd = try client.hold(mount, Claim(begin: 0x10000, end: 0x12000, owner: 0x2100))
        #expect(try client("release", "ioctl", fd) == "0")
      }
    }

    @Test(OnlyInMode(.pageCache)) func `the kernel does not take the size of a region`() throws {
      try withLayout(Self.layout, ["-o", "mode=0666"]) { mount in
        mount.expectedLogLines = ["cannot be had (SIGBUS)"]
        let attack = try mount.attack(
          "region-sizes", mount.mountpoint, "\(Self.duration)")
        defer { attack.kill() }
        try mount.victimRings()
        let counts = try attack.line(within: 5 * Self.duration).split(separator: " ")
          .compactMap { Int($0) }
        #expect(counts.count == 2 && counts[0] > 0, "\(counts)")
      }
    }

    /// The old mapping would show the area to whom it is not any more, and he could write to it.
    @Test(
      OnlyInMode(.pageCache), .enabled(if: MountMode.writesBackWithoutLock, "needs Linux 6.16"))
    func `an area whose mapping cannot be revoked is not freed`()
      throws
    {
      try withLayout(Self.layout) { mount in
        mount.expectedLogLines = ["is held still"]
        let slow = try SlowPages()
        let attack = try mount.attack("keep-mapping", mount("buffers/data"), slow.page())
        defer { attack.kill() }
        #expect(try attack.line() == "EBUSY first")
        let next = try mount.client()
        let fd = try next.open(mount("buffers/data"))
        let claim = Claim(begin: 0x2000, end: 0x4000, owner: 0x2000, value: 8)
        #expect(try next.claim(claim, for: fd) == "EAGAIN")
        try mount.expectHeld(Claim(begin: 0x2000, end: 0x4000, owner: 0x2000, value: 7))
        try mount.victimRings()
        try attack.send(line: "go")
        #expect(try attack.line() == "unmapped")
        // What keeps it goes with its owner, and what he stored last is there.
        try slow.letGo()
        attack.kill()
        _ = try next.claimWhenFree(claim, for: fd)
        #expect(try next("read", fd, "5", "0") == "again")
      }
    }

    /// Whether somebody can write to an area is found out at each close of one.
    @Test(OnlyInMode(.passthrough)) func `pages that are pinned keep nobody waiting`() throws {
      try withLayout(Self.layout) { mount in
        let attacks = try (0..<3).map {
          try mount.attack("pin-areas", mount("buffers/data"), "\($0)", "\(Self.duration)")
        }
        defer { for attack in attacks { attack.kill() } }
        let times = try mount.victimRings(2000)
        #expect(times.p99 < 20_000 * Deadline.slowness, "µs: \(times)")
        for attack in attacks {
          let counts = try attack.line(within: 5 * Self.duration).split(separator: " ")
          #expect(counts.count == 2)
        }
      }
    }
  }
}
