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
/// its caches cold and a processor to be woken: one that waits alone serves the same requests in
/// three quarters of the time. More come while there is a backlog, and go when it is gone.
final class WorkerPool: Sendable {
  private let count = Atomic(0)
  private let maximum = Atomic(0)

  func start(_ size: WorkerPoolSize) {
    maximum.store(size.maximum, ordering: .relaxed)
  }

  func begin() {
    count.wrappingAdd(1, ordering: .relaxed)
  }

  func beginIfRoom() -> Bool {
    if count.wrappingAdd(1, ordering: .relaxed).newValue <= maximum.load(ordering: .relaxed) {
      return true
    }
    count.wrappingSubtract(1, ordering: .relaxed)
    return false
  }

  /// True for the last one.
  func end() -> Bool {
    count.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0
  }
}

/// What a worker knows of the load, from how long it had to wait for its requests.
struct WorkerLoad {
  /// A request that came within this time was there already.
  private static let backlogNanoseconds: UInt64 = 3_000
  /// So many of those in a row are a backlog.
  private static let backlogLength = 64
  /// A worker that waited for so long is not needed.
  private static let idleNanoseconds: UInt64 = 20_000_000

  private var streak = 0
  private(set) var isIdle = false

  /// Whether another worker would have something to do.
  private(set) var asksForHelp = false

  mutating func received(waiting start: MonotonicInstant) {
    let waited = MonotonicInstant.now.nanoseconds - start.nanoseconds
    isIdle = waited > Self.idleNanoseconds
    streak = waited < Self.backlogNanoseconds ? streak + 1 : 0
    asksForHelp = streak == Self.backlogLength
    if asksForHelp { streak = 0 }
  }
}
