// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
internal import Synchronization
internal import SystemPackage

/// The deadlines of all sleeping calls: one heap, one timerfd, one thread.
///
/// The heap's lock is a leaf; expired tokens are handed out with no lock held.
final class TimerQueue: Sendable {
  private let heap = Lock(DeadlineHeap())
  private let timer: TimerDescriptor
  private let log: Logger
  private let isStopped = Atomic(false)
  private let thread = Lock<EventThread?>(nil)
  private static let timerToken: UInt64 = 1

  init(log: Logger) throws(Errno) {
    timer = try TimerDescriptor()
    self.log = log
  }

  /// Starts the thread that calls `expired` with each token whose deadline has passed, unless there is
  /// one: to be called before a deadline is scheduled.
  func ensureStarted(_ expired: @escaping @Sendable (UInt64) -> Void) throws(Errno) {
    try thread.withLock { thread throws(Errno) in
      if thread == nil { thread = try start(expired) }
    }
  }

  private func start(
    _ expired: @escaping @Sendable (UInt64) -> Void
  ) throws(Errno) -> EventThread {
    let thread = try EventThread()
    try thread.epoll.add(timer.descriptor, token: Self.timerToken)
    try thread.start(name: "vsoc-timer") { [self] _ in
      timer.clear()
      for token in takeExpired() { expired(token) }
    } failed: { [log] error in
      log.error("deadlines are not kept any more: \(error)")
    }
    return thread
  }

  /// Ends the thread.
  func stop() {
    isStopped.store(true, ordering: .releasing)
    thread.withLock { $0 }?.stop()
  }

  func schedule(_ token: UInt64, at deadline: MonotonicInstant) {
    heap.withLock { heap in
      heap.insert(token, deadline)
      if heap.first?.token == token, !isStopped.load(ordering: .acquiring) { timer.set(deadline) }
    }
  }

  /// Forgets a deadline; the timer may ring for nothing once, which costs less than setting it.
  func cancel(_ token: UInt64) {
    heap.withLock { $0.remove(token) }
  }

  private func takeExpired() -> [UInt64] {
    heap.withLock { heap in
      let now = MonotonicInstant.now
      var tokens: [UInt64] = []
      while let first = heap.first, first.deadline <= now {
        tokens.append(first.token)
        heap.remove(first.token)
      }
      if !isStopped.load(ordering: .acquiring) { timer.set(heap.first?.deadline) }
      return tokens
    }
  }
}

/// A binary heap of deadlines from which any token can be taken out.
struct DeadlineHeap {
  private(set) var entries: [(deadline: MonotonicInstant, token: UInt64)] = []
  private var places: [UInt64: Int] = [:]

  var first: (deadline: MonotonicInstant, token: UInt64)? { entries.first }

  /// `token` must not be in the heap.
  mutating func insert(_ token: UInt64, _ deadline: MonotonicInstant) {
    entries.append((deadline, token))
    places[token] = entries.count - 1
    moveUp(entries.count - 1)
  }

  mutating func remove(_ token: UInt64) {
    guard let place = places.removeValue(forKey: token) else { return }
    let last = entries.removeLast()
    guard place < entries.count else { return }
    entries[place] = last
    places[last.token] = place
    moveUp(place)
    moveDown(place)
  }

  private mutating func moveUp(_ start: Int) {
    var index = start
    while index > 0 {
      let parent = (index - 1) / 2
      guard entries[index].deadline < entries[parent].deadline else { return }
      swap(index, parent)
      index = parent
    }
  }

  private mutating func moveDown(_ start: Int) {
    var index = start
    while true {
      var least = index
      for child in (2 * index + 1)...(2 * index + 2)
      where child < entries.count && entries[child].deadline < entries[least].deadline {
        least = child
      }
      guard least != index else { return }
      swap(index, least)
      index = least
    }
  }

  private mutating func swap(_ one: Int, _ other: Int) {
    entries.swapAt(one, other)
    places[entries[one].token] = one
    places[entries[other].token] = other
  }
}
