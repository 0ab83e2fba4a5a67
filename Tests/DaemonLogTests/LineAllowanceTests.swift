// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import Testing

@testable import DaemonLog

@Suite struct LineAllowanceTests {
  private var allowance = LineAllowance()

  private func instant(_ seconds: Double) -> MonotonicInstant {
    MonotonicInstant(nanoseconds: UInt64(seconds * 1e9))
  }

  @Test mutating func `Twenty lines at once, and the last one says that it is the last`() {
    for count in 1...20 {
      #expect(allowance.take(at: instant(100)) == .granted(leftOut: 0, isLast: count == 20))
    }
    for _ in 0..<1000 { #expect(allowance.take(at: instant(100)) == .refused) }
  }

  @Test mutating func `Another one every five seconds, which says how many were left out`() {
    for _ in 0..<20 { _ = allowance.take(at: instant(100)) }
    #expect(allowance.take(at: instant(104.9)) == .refused)
    #expect(allowance.take(at: instant(104.9)) == .refused)
    #expect(allowance.take(at: instant(105)) == .granted(leftOut: 2, isLast: true))
    #expect(allowance.take(at: instant(105)) == .refused)
    #expect(allowance.take(at: instant(110)) == .granted(leftOut: 1, isLast: true))
  }

  @Test mutating func `All are back after a hundred seconds`() {
    for _ in 0..<30 { _ = allowance.take(at: instant(100)) }
    #expect(allowance.take(at: instant(200)) == .granted(leftOut: 10, isLast: false))
    for _ in 0..<18 {
      #expect(allowance.take(at: instant(200)) == .granted(leftOut: 0, isLast: false))
    }
    #expect(allowance.take(at: instant(200)) == .granted(leftOut: 0, isLast: true))
    #expect(allowance.take(at: instant(200)) == .refused)
  }

  @Test mutating func `Lines that come seldom are never left out`() {
    for second in 0..<100 {
      guard case .granted = allowance.take(at: instant(100 + 5 * Double(second))) else {
        Issue.record("the line at \(second) was left out")
        return
      }
    }
  }
}
