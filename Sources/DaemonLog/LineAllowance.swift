// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem

/// How many lines one place of the program may log: twenty at once, and one more every five seconds. What
/// clients do again and again must not fill a disk.
struct LineAllowance: Hashable, Sendable {
  enum Verdict: Hashable, Sendable {
    /// - Parameters:
    ///   - leftOut: how many lines were left out since the last one.
    ///   - isLast: the next line, if it comes at once, will be left out.
    case granted(leftOut: Int, isLast: Bool)
    case refused
  }

  static let burst = 20
  static let interval: UInt64 = 5_000_000_000

  /// Nanoseconds at which the whole burst can be had again.
  private var restored: UInt64 = 0
  private var leftOut = 0

  mutating func take(at now: MonotonicInstant) -> Verdict {
    let debt = restored > now.nanoseconds ? restored - now.nanoseconds : 0
    let limit = Self.interval * UInt64(Self.burst - 1)
    guard debt <= limit else {
      leftOut += 1
      return .refused
    }
    restored = now.nanoseconds + debt + Self.interval
    defer { leftOut = 0 }
    return .granted(leftOut: leftOut, isLast: debt + Self.interval > limit)
  }
}
