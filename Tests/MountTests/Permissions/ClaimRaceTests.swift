// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension MountTests {
  /// Many processes that want the same.
  @Suite struct ClaimRaces {
    /// How many claims the long run makes. VSOCFS_TEST_CLAIMS says how many if not: a million takes a
    /// debug build minutes.
    private static let attempts: Int = {
      if let text = unsafe getenv("VSOCFS_TEST_CLAIMS") {
        return unsafe Int(String(cString: text)) ?? 1_000_000
      }
      return 200_000 / (Programs.areSanitized ? 10 : 1) / (Deadline.slowness * Deadline.slowness)
    }()

    /// A winner gives up its area in turn by a close, a release, a kill and its end.
    @Test func `of 64 processes exactly one wins, 200 times`() throws {
      try withManaged { mount in
        let client = try mount.client()
        let rounds = max(200 / Deadline.slowness, 40)
        let reply = try client(
          "claim-race", "64", "\(rounds)", mount("buffers"), mount("manager"), "0x4000", "0x8000",
          "0x2000", within: 120_000)
        // Each way to claim has won at some time.
        #expect(reply == "5", "\(reply)")
        try mount.expectGivenBack()
      }
    }

    @Test func `random claims never overlap, and all accounts of them agree`() throws {
      try withManaged { mount in
        let client = try mount.client()
        let attempts = Self.attempts
        let reply = try client(
          "claim-stress", "8", "\(attempts)", "20", mount("buffers"), mount("manager"),
          "\(UInt32.random(in: 1...UInt32.max))", within: 60_000 + attempts)
        let numbers = reply.split(separator: " ").compactMap { Int($0) }
        try #require(numbers.count == 4, "\(reply)")
        #expect(numbers[0] >= attempts * 9 / 10)
        // Both happen often, or nothing is shown.
        #expect(numbers[1] > attempts / 50, "\(reply)")
        #expect(numbers[2] > attempts / 50, "\(reply)")
        if unsafe getenv("VSOCFS_TEST_CLAIMS") != nil {
          print(
            "\(mount.mode): \(numbers[0]) claims (\(numbers[1]) granted) in \(numbers[3]) ms")
        }
        #expect(try mount.facts("buffers/info")["permissions"] == "0")
      }
    }

    /// Also between the request and its answer.
    @Test func `claimers that are killed leave nothing`() throws {
      try withManaged { mount in
        let client = try mount.client()
        // What has contents is copied, which takes its time.
        let all = Claim(begin: 0x2000, end: Managed.size)
        let filled = try client.hold(mount, all)
        #expect(try client("fill", filled, "0x5a", "\(all.length)", "0") == "\(all.length)")
        #expect(try client("close", filled) == "0")
        let rounds = 60 / Deadline.slowness
        let granted = try client.number(
          reply: client(
            "kill-claimers", "\(rounds)", "6", mount("buffers"), mount("manager"),
            "\(UInt32.random(in: 1...UInt32.max))", within: 120_000))
        #expect(granted > rounds)
        // All of it can be had at once, and has been given back by whoever had it.
        let fd = try client.hold(mount, all)
        #expect(try client("differ", fd, "0x5a") == "\(all.length) 0")
        #expect(try mount.facts(".vsocfs/stats")["permissions"] == "1")
      }
    }
  }
}
