// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension Proc {
  /// The processes that look into callers for this daemon.
  static func lookers(of daemon: Int32) -> [Int32] {
    names(in: "/proc").compactMap { Int32($0) }.filter { pid in
      contents(of: "/proc/\(pid)/comm") == "vsocfs-look\n"
        && value(of: "PPid", in: "/proc/\(pid)/status") == "\(daemon)"
    }
  }

  /// Those that cannot be killed now.
  static func isStuck(_ pid: Int32) -> Bool {
    value(of: "State", in: "/proc/\(pid)/status")?.hasPrefix("D") ?? false
  }
}

extension MountTests.Hostile {
  private func claimAndRelease(_ client: Client, _ mount: MountedDaemon) throws {
    for way in Way.allCases {
      let fd = try client.hold(mount, Claim(), way)
      #expect(try client("close", fd) == "0")
      try mount.waitUntilFree()
    }
  }

  @Test func `a claim out of a page that never comes waits alone`() throws {
    let slow = try SlowPages()
    try withLayout(HostileLayout.text(HostileLayout.managed)) { mount in
      let pages = (0..<12).map { _ in slow.page() }
      let attack = try ChildProcess(
        Programs.attacker, ["slow-claims", mount("own/data")] + pages, as: .attacker)
      #expect(try attack.line() == "begins")
      #expect(try attack.line() == "started")
      let victim = Client(try ChildProcess(Programs.client, [], as: .victim))
      // While the first look is under way, and after it was given up.
      try mount.victimRings(200)
      try claimAndRelease(victim, mount)
      let results = try (0..<12).map { _ in try attack.line() }
      #expect(results.filter { $0 == "EFAULT" }.count == 1, "\(results)")
      #expect(results.filter { $0 == "EAGAIN" }.count == 11, "\(results)")
      var stuck: [Int32] = []
      // A moment after the answer.
      try eventually("one is stuck") {
        stuck = Proc.lookers(of: mount.pid).filter(Proc.isStuck)
        return stuck.count == 1
      }
      try mount.victimRings(200)
      try claimAndRelease(victim, mount)
      victim.kill()
      // He gets no other look before that one is over.
      let again = try ChildProcess(
        Programs.attacker, ["slow-claims", mount("own/data"), slow.page()], as: .attacker)
      while try again.line() != "EAGAIN" {}
      again.kill()
      try slow.letGo()
      try eventually("the helper is gone") {
        Proc.lookers(of: mount.pid).allSatisfy { !Proc.isStuck($0) }
          && stuck.allSatisfy { !Proc.lookers(of: mount.pid).contains($0) }
      }
      attack.kill()
    }
  }

  @Test func `SIGTERM ends a daemon that looks into a page that never comes`() throws {
    let slow = try SlowPages()
    try withLayout(HostileLayout.text(HostileLayout.managed)) { mount in
      let attack = try ChildProcess(
        Programs.attacker, ["slow-claims", mount("own/data"), slow.page(), slow.page()],
        as: .attacker)
      #expect(try attack.line() == "begins")
      try eventually("it looks") { Proc.lookers(of: mount.pid).contains(where: Proc.isStuck) }
      mount.process.signal(SIGTERM)
      #expect(try mount.process.wait(within: 5000) == 0)
      #expect(!Mounts.contains(mount.mountpoint))
      slow.end()
      attack.kill()
    }
  }
}
