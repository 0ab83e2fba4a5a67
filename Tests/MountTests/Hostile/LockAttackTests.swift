// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// A client that holds the kernel's lock of a file, by a write whose bytes do not come.
  @Suite struct LockAttacks {
    private static let layout = HostileLayout.text(
      """
      { name: "shared", size: "64K", mode: "0666" },
      { name: "buffers", size: "64K", managed_by: "shared", mode: "0666" },
      """)

    /// - Parameter ends: whether the attacker is gone before the daemon is, as far as he can be.
    @Test(
      .enabled(if: MountMode.writesBackWithoutLock, "needs Linux 6.16"),
      arguments: [false, true]) func `others go on, and the daemon ends`(_ ends: Bool) throws
    {
      try withLayout(Self.layout) { mount in
        let slow = try SlowPages()
        let attacks = try ["shared/data", "own/data"].map { file in
          let attack = try mount.attack("hold-lock", mount(file), slow.page(), "0x2000")
          #expect(try attack.line() == "writes")
          return attack
        }
        for attack in attacks { try Proc.waitForSleepers(attack.pid, at: .request, count: 1) }
        try mount.victimRings()
        // Those who share the file: they map, ring, have areas, and close.
        let client = try mount.client()
        for round in 0..<3 {
          let fd = try client.open(mount("shared/data"))
          let memory = try client("map", fd, "65536")
          #expect(try client("store", memory, "0x4000", "\(round + 1)") == "0")
          #expect(try client("send", fd) == "0")
          let area = try client.open(mount("buffers/data"))
          let claim = Claim(begin: 0x2000, end: 0x4000, owner: 0x2000 + 4 * round)
          _ = try client.claimWhenFree(claim, for: area)
          #expect(try client("write", area, "text\(round)", "0") == "5")
          if round > 0 { #expect(try client("release", "ioctl", area) == "0") }
          for fd in [area, fd] { #expect(try client("close", fd) == "0") }
          #expect(try client("unmap", memory) == "0")
        }
        try mount.waitUntilFree()
        if ends { for attack in attacks { attack.signal(SIGKILL) } }
        mount.terminate()
        // Whoever waits for his own file system is nobody's business but his.
        slow.end()
        for attack in attacks { attack.kill() }
      }
    }
  }
}
