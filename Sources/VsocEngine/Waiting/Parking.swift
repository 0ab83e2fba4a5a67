// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
internal import Synchronization
internal import SystemPackage

/// All calls that wait, by token: how an interrupt, a deadline or the end of the mount finds one.
///
/// What is kept for them is bounded, for all and for each user. Its lock is a leaf: nothing else is locked
/// while it is held.
package final class Parking: Sendable {
  private struct Entry {
    let waiter: Waiter
    let user: UInt32
  }

  private struct State {
    var entries: [UInt64: Entry] = [:]
    var shares: UserShares

    mutating func remove(_ token: UInt64) {
      guard let entry = entries.removeValue(forKey: token) else { return }
      shares.giveBack(entry.waiter.cost, of: entry.user)
    }
  }

  /// Bytes that are kept for all calls that wait: for some 32,000 of the usual ones.
  package static let capacity = 32 << 20

  private let lastToken = Atomic<UInt64>(0)
  private let state: Lock<State>
  let timers: TimerQueue

  init(timers: TimerQueue, trusted: UserShares.Trusted) {
    self.timers = timers
    state = Lock(State(shares: UserShares(of: Self.capacity, trusted: trusted)))
  }

  func nextToken() -> UInt64 {
    lastToken.wrappingAdd(1, ordering: .relaxed).newValue
  }

  /// The number of calls that wait.
  package var count: Int {
    state.withLock { $0.entries.count }
  }

  /// Makes a waiter known, before it can be interrupted. False, and it is not, if more would be kept for
  /// its user than there is for him.
  func register(_ waiter: Waiter, for user: UInt32) -> Bool {
    let isTaken = state.withLock { state in
      guard state.shares.take(waiter.cost, for: user) else { return false }
      state.entries[waiter.token] = Entry(waiter: waiter, user: user)
      return true
    }
    guard isTaken else { return false }
    // Only now: a deadline that has passed already must find the waiter.
    guard let sleeper = waiter as? CondWait, let deadline = sleeper.deadline else { return true }
    do throws(Errno) {
      try timers.ensureStarted { [weak self] in self?.abandon(token: $0, .timedOut) }
      timers.schedule(sleeper.token, at: deadline)
    } catch {
      // Without a thread nobody would end it.
      sleeper.region.log.error("a deadline cannot be kept: \(error)")
      abandon(sleeper, .gone)
    }
    return true
  }

  /// Whether a write of so many offsets could wait for its user: to be asked before much is made of it.
  package func hasRoom(forWriteOf count: Int, by user: UInt32) -> Bool {
    state.withLock { $0.shares.hasRoom(for: DoorbellWrite.cost(of: count), of: user) }
  }

  /// Forgets a waiter that was claimed.
  func forget(_ waiter: Waiter) {
    state.withLock { $0.remove(waiter.token) }
    if let sleeper = waiter as? CondWait, sleeper.deadline != nil {
      timers.cancel(sleeper.token)
    }
  }

  /// Ends a wait without its event; nothing happens if it is over already.
  package func abandon(token: UInt64, _ reason: Abandonment) {
    if let entry = state.withLock({ $0.entries[token] }) { abandon(entry.waiter, reason) }
  }

  private func abandon(_ waiter: Waiter, _ reason: Abandonment) {
    guard waiter.claim() else { return }
    forget(waiter)
    waiter.region.state.withLock { waiter.leave(&$0) }
    waiter.abandon(reason)
  }

  /// Ends every wait that `isMeant` picks.
  package func abandonAll(_ reason: Abandonment, where isMeant: (Waiter) -> Bool = { _ in true }) {
    for entry in state.withLock({ Array($0.entries.values) }) where isMeant(entry.waiter) {
      abandon(entry.waiter, reason)
    }
  }
}
