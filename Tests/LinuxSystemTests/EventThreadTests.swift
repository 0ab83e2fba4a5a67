// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing

/// Threads with one place where they wait.
@Suite struct EventThreadTests {
  @Test func `It hears what is added, and ends when it is stopped`() throws {
    let heard = Monitor<[UInt64]>([])
    let thread = try EventThread()
    let event = try EventDescriptor()
    try thread.start(name: "events") { tokens in
      heard.withLock { $0 += tokens }
    } failed: { error in
      Issue.record("\(error)")
    }
    try thread.epoll.add(event.descriptor, token: 7)
    event.signal()
    #expect(heard.wait(until: .after(seconds: 20)) { $0.contains(7) ? true : nil } == true)
    event.clear()
    thread.stop()
  }

  /// As when it was set again between the report and this: nobody would ever come back.
  @Test func `Clearing a timer that has not rung does not wait`() throws {
    let isOver = Monitor(false)
    try Thread.start(name: "timer") {
      guard let timer = try? TimerDescriptor() else { return }
      timer.clear()
      timer.set(.now)
      timer.set(.after(seconds: 3600))
      timer.clear()
      isOver.withLock { $0 = true }
    }
    #expect(isOver.wait(until: .after(seconds: 20)) { $0 ? true : nil } == true)
  }

  @Test func `A set in a set is readable while one of its own is`() throws {
    let outer = try Epoll()
    let inner = try Epoll()
    let event = try EventDescriptor()
    try inner.add(event.descriptor, token: 3)
    try outer.add(inner, token: 5)
    #expect(try outer.poll() == [])
    event.signal()
    #expect(try outer.wait() == [5])
    #expect(try inner.poll() == [3])
    event.clear()
    #expect(try outer.poll() == [])
  }
}
