// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing

/// Looks into processes by helpers; this one looks into itself, which needs no right.
@Suite struct LooksTests {
  private let log = Monitor([String]())

  private func withLooks(
    _ executable: String = BuildDirectory.path + "/vsocfs", _ body: (Looks) throws -> Void
  ) throws {
    let looks = try Looks(
      executable: executable, log: { [log] line in log.withLock { $0.append(line) } })
    defer { looks.stop() }
    try body(looks)
  }

  private func look(
    _ looks: any Looking, _ look: Look, for user: UInt32 = 1
  ) throws -> Result<Seen, Errno> {
    let result = Monitor(Result<Seen, Errno>?.none)
    looks.look(look, for: user) { seen in result.withLock { $0 = seen } }
    return try #require(result.wait(until: .after(seconds: 20)) { $0 })
  }

  @Test func `A helper sees what a look of one's own does`() throws {
    try withLooks { looks in
      for question in [
        Look(at: getpid()), Look(at: 0), Look(at: .max), Look(at: 1),
        Look(at: getpid(), file: (.number(0), 1)), Look(at: getpid(), file: (.number(-1), 1)),
        Look(at: 0, file: (.number(0), 1)), Look(at: getpid(), file: (.word(0), 1)),
        Look(at: .max, file: (.word(0), 1)),
      ] {
        let own = try look(ImmediateLooks(), question).get()
        #expect(try look(looks, question).get() == own)
      }
      #expect(try look(looks, Look(at: getpid())).get().process == getpid())
      #expect(
        try look(looks, Look(at: getpid(), file: (.word(8), 1))).get().node == .noWord(.badAddress))
    }
    #expect(log.withLock { $0 } == [])
  }

  @Test func `All looks of many users are done`() throws {
    try withLooks { looks in
      let seen = Monitor([UInt32: Int]())
      try looks.prepare()
      for _ in 0..<100 {
        for user in 0..<UInt32(20) {
          looks.look(Look(at: getpid()), for: user) { result in
            if case .success = result { seen.withLock { $0[user, default: 0] += 1 } }
          }
        }
      }
      let isDone = seen.wait(until: .after(seconds: 60)) {
        $0.values.reduce(0, +) == 2000 ? true : nil
      }
      #expect(isDone == true, "\(seen.withLock { $0 })")
    }
  }

  @Test func `Without a program nobody looks, and it is said`() throws {
    try withLooks("/nonexistent") { looks in
      let refused = try look(looks, Look(at: getpid()))
      #expect(refused == .failure(.resourceTemporarilyUnavailable))
    }
    #expect(log.withLock { $0.count } == 1)
  }

  @Test func `A program that ends at once is asked once a look`() throws {
    try withLooks("/bin/true") { looks in
      try looks.prepare()
      for _ in 0..<3 {
        let refused = try look(looks, Look(at: getpid()))
        #expect(refused == .failure(.resourceTemporarilyUnavailable))
      }
    }
  }

  @Test func `Nobody is looked at after the end`() throws {
    try withLooks { looks in
      _ = try look(looks, Look(at: getpid()))
      looks.stop()
      let refused = try look(looks, Look(at: getpid()))
      #expect(refused == .failure(.operationNotSupportedByDevice))
    }
  }
}
