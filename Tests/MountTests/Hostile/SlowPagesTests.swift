// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Testing

extension MountTests {
  /// What attackers do, each with a victim of another user whose calls are timed meanwhile.
  @Suite struct Hostile {
    /// That the attackers' own tool does what they need.
    @Test(OnlyInMode(.passthrough))
    func `a slow page does not come before it is let go`() throws {
      let slow = try SlowPages()
      let reader = try ChildProcess(
        "/bin/dd", ["if=" + slow.page(), "bs=4096", "skip=1", "count=1", "of=/dev/null"],
        as: .attacker)
      try Proc.waitForSleepers(reader.pid, at: .page, count: 1)
      try slow.letGo()
      #expect(try reader.wait() == 0)
    }

    @Test func `a victim that nobody attacks`() throws {
      try withLayout(HostileLayout.text()) { mount in
        let times = try mount.victimRings()
        #expect(times.p99 <= times.worst)
      }
    }
  }
}
