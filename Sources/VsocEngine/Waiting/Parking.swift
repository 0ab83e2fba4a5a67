// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Synchronization
internal import SystemPackage

/// All calls that wait, by token: how an interrupt, a deadline or the end of the mount finds one.
///
/// Its lock is a leaf: nothing else is locked while it is held.
package final class Parking: Sendable {
  private let lastToken = Atomic<UInt64>(0)
  private let waiters = Lock<[UInt64: Waiter]>([:])
  let timers: TimerQueue

  init(timers: TimerQueue) {
    self.timers = timers
  }

  func nextToken() -> UInt64 {
    lastToken.wrappingAdd(1, ordering: .relaxed).newValue
  }

  /// The number of calls that wait.
  package var count: Int {
    waiters.withLock { $0.count }
  }

  /// Makes a waiter known, before it can be interrupted.
  package func register(_ waiter: Waiter) {
    waiters.withLock { $0[waiter.token] = waiter }
    // Only now: a deadline that has passed already must find the waiter.
    guard let sleeper = waiter as? CondWait, let deadline = sleeper.deadline else { return }
    do throws(Errno) {
      try timers.ensureStarted { [weak self] in self?.abandon(token: $0, .timedOut) }
      timers.schedule(sleeper.token, at: deadline)
    } catch {
      // Without a thread nobody would end it.
      abandon(sleeper, .gone)
    }
  }

  /// Forgets a waiter that was claimed.
  func forget(_ waiter: Waiter) {
    waiters.withLock { _ = $0.removeValue(forKey: waiter.token) }
    if let sleeper = waiter as? CondWait, sleeper.deadline != nil {
      timers.cancel(sleeper.token)
    }
  }

  /// Ends a wait without its event; nothing happens if it is over already.
  package func abandon(token: UInt64, _ reason: Abandonment) {
    if let waiter = waiters.withLock({ $0[token] }) { abandon(waiter, reason) }
  }

  private func abandon(_ waiter: Waiter, _ reason: Abandonment) {
    guard waiter.claim() else { return }
    forget(waiter)
    waiter.region.state.withLock { waiter.leave(&$0) }
    waiter.abandon(reason)
  }

  /// Ends every wait that `isMeant` picks.
  package func abandonAll(_ reason: Abandonment, where isMeant: (Waiter) -> Bool = { _ in true }) {
    for waiter in waiters.withLock({ Array($0.values) }) where isMeant(waiter) {
      abandon(waiter, reason)
    }
  }
}
