// SPDX-License-Identifier: Apache-2.0

internal import Glibc
package import LinuxSystem

/// State behind a lock, and waiting until it has come to something, with a deadline: what the
/// tests' threads use to tell each other that they got somewhere.
@safe
package final class Monitor<State>: @unchecked Sendable {
  private var state: State
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  package init(_ state: sending State) {
    self.state = state
    unsafe pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    unsafe pthread_condattr_init(&attributes)
    unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    unsafe pthread_cond_init(condition, &attributes)
    unsafe pthread_condattr_destroy(&attributes)
  }

  deinit {
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }

  /// Changes the state, and lets everybody who waits look at it.
  package func withLock<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
    unsafe pthread_mutex_lock(mutex)
    defer {
      unsafe pthread_cond_broadcast(condition)
      unsafe pthread_mutex_unlock(mutex)
    }
    return try body(&state)
  }

  /// Waits until `body` has a result; nil if it has none at the deadline.
  package func wait<Result>(
    until deadline: MonotonicInstant, for body: (inout State) throws -> Result?
  ) rethrows -> Result? {
    var time = timespec(
      tv_sec: Int(deadline.nanoseconds / 1_000_000_000),
      tv_nsec: Int(deadline.nanoseconds % 1_000_000_000))
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    while true {
      if let result = try body(&state) { return result }
      if unsafe pthread_cond_timedwait(condition, mutex, &time) == ETIMEDOUT {
        return try body(&state)
      }
    }
  }
}

extension MonotonicInstant {
  /// The time so many seconds from now.
  package static func after(seconds: Double) -> MonotonicInstant {
    MonotonicInstant(nanoseconds: now.nanoseconds + UInt64(seconds * 1e9))
  }
}
