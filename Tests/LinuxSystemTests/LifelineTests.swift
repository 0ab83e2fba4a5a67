// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSystem
import TestSupport
import Testing

@Suite struct LifelineTests {
  @Test func `let go`() throws {
    let lifeline = try Lifeline()
    let line = try LifelineMemory(lifeline)
    let waiter = try Waiter(line)
    #expect(line.isWaitedFor(), "nobody waits")
    lifeline.letGo()
    #expect(waiter.result == 0)
  }

  @Test func `dropped`() throws {
    let line: LifelineMemory
    do {
      let lifeline = try Lifeline()
      line = try LifelineMemory(lifeline)
    }
    #expect(try Waiter(line).result == 0)
  }

  @Test func `its process is killed while somebody waits`() throws {
    let line = try LifelineMemory()
    let holder = try LifelineHolder(of: line)
    let waiter = try Waiter(line)
    #expect(line.isWaitedFor(), "nobody waits")
    holder.kill()
    #expect(waiter.result == -EOWNERDEAD)
  }

  @Test func `its process was killed before`() throws {
    let line = try LifelineMemory()
    try LifelineHolder(of: line).kill()
    #expect(try Waiter(line).result == -EOWNERDEAD)
  }
}

/// A thread that waits for the end of a lifeline.
private final class Waiter {
  private let end = Monitor<Int32?>(nil)

  init(_ line: LifelineMemory) throws {
    let end = self.end
    try LinuxSystem.Thread.start(name: "waiter") {
      let result = unsafe vsocfs_lifeline_wait(line.mapping.base)
      end.withLock { $0 = result }
    }
  }

  /// Nil at the deadline.
  var result: Int32? { end.wait(until: .after(seconds: 10)) { $0 } }
}
