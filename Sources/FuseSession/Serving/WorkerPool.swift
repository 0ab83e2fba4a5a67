// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Synchronization

/// How many threads serve a connection.
package struct WorkerPoolSize: Sendable {
  /// Always there.
  package let minimum: Int
  /// At most, under load.
  package let maximum: Int

  package init(minimum: Int, maximum: Int) {
    self.minimum = minimum
    self.maximum = maximum
  }
}

/// Counts the workers of a session.
///
/// The kernel wakes the threads that wait in read(2) by turns, so that each of several threads finds
/// its caches cold and often another processor to be woken. A client that does one call after the
/// other is served best by a thread that waits alone; two that wake each other by two, since the one
/// that was woken asks while the waker is still being answered. More come only when requests queue
/// up. They go when they are not needed any longer.
final class WorkerPool: Sendable {
  private let count = Atomic(0)
  private let maximum = Atomic(0)
  /// Who made the request before, whichever worker got it: one worker alone may well get all of one
  /// caller's while the other gets those between.
  private let lastCaller = Atomic<UInt32>(0)

  /// Whether the request comes from another caller than the one before it.
  func isTurn(of caller: UInt32) -> Bool {
    lastCaller.exchange(caller, ordering: .relaxed) != caller
  }

  func start(_ size: WorkerPoolSize) {
    maximum.store(size.maximum, ordering: .relaxed)
  }

  func begin() {
    count.wrappingAdd(1, ordering: .relaxed)
  }

  /// Counts one more worker, if there is room for one.
  func begin(for need: WorkerLoad.Need) -> Bool {
    let maximum = maximum.load(ordering: .relaxed)
    let limit =
      switch need {
      case .none: 0
      case .company: min(2, maximum)
      case .more: maximum
      }
    var current = count.load(ordering: .relaxed)
    while current < limit {
      let (exchanged, original) = count.compareExchange(
        expected: current, desired: current + 1, ordering: .relaxed)
      if exchanged { return true }
      current = original
    }
    return false
  }

  /// Whether all have ended, which they do when the connection is dead.
  var isEmpty: Bool { count.load(ordering: .acquiring) == 0 }

  /// True for the last one.
  func end() -> Bool {
    count.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0
  }
}

/// What a worker knows of the load: whose requests it gets, and how long it waits for them.
struct WorkerLoad {
  /// Whether another worker would have something to do.
  enum Need {
    case none
    /// Several threads call by turns.
    case company
    /// Requests wait for a worker.
    case more
  }

  /// A request that came within this time was there already: less than it takes to fall asleep.
  private static let backlogNanoseconds: UInt64 = 1_000
  /// So many of those in a row are a backlog.
  private static let backlogLength = 64
  /// Callers that take turns more slowly than this are not in each other's way.
  private static let turnNanoseconds: UInt64 = 1_000_000
  /// So many of the last 64 requests from another caller than the one before are turns.
  private static let turns = 16
  /// A worker that waited for so long is not needed.
  private static let idleNanoseconds: UInt64 = 1_000_000_000

  /// A bit for each of the last 64 requests: it came from another caller than the one before.
  private var switches: UInt64
  private var streak = 0

  private(set) var need = Need.none
  /// Whether the worker may go, unless it is the one that stays.
  private(set) var isIdle = false

  init(isPermanent: Bool) {
    // One that was called for is needed until it sees otherwise.
    switches = isPermanent ? 0 : .max
  }

  mutating func received(isTurn: Bool, waitingFrom start: MonotonicInstant) {
    let waited = MonotonicInstant.now.nanoseconds - start.nanoseconds
    switches = switches << 1 | (isTurn && waited < Self.turnNanoseconds ? 1 : 0)
    streak = waited < Self.backlogNanoseconds ? streak + 1 : 0
    isIdle = switches == 0 || waited > Self.idleNanoseconds
    need =
      streak >= Self.backlogLength
      ? .more : switches.nonzeroBitCount >= Self.turns ? .company : .none
    if streak >= Self.backlogLength { streak = 0 }
  }
}
