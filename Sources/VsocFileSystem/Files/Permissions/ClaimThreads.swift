// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage

/// Carries claims out once it is known for whom: the threads `vsoc-claims`. A claim may wait for the disk of
/// a store, for pages, or for a great area to be copied, which neither a worker nor who hears of looks
/// should. One of each user is carried out at a time, so that nobody takes all threads.
final class ClaimThreads: Sendable {
  typealias Job = @Sendable () -> Void

  private static let count = 4

  private struct State {
    /// Those that wait, by user. Who has an entry has one that is carried out, or is in `ready`.
    var users: [UInt32: [Job]] = [:]
    var ready: [UInt32] = []
    var isStopped = false
    var running = 0

    mutating func next() -> (user: UInt32, job: Job)? {
      guard !ready.isEmpty else { return nil }
      let user = ready.removeFirst()
      guard let job = users[user]?.removeFirst() else { return nil }
      return (user, job)
    }

    mutating func finish(_ user: UInt32) {
      if users[user]?.isEmpty ?? true { users[user] = nil } else { ready.append(user) }
    }
  }

  private let state = Lock(State())
  private let wakeups: Semaphore
  private let ended: EventDescriptor

  init() throws(Errno) {
    wakeups = try Semaphore()
    ended = try EventDescriptor()
  }

  /// Starts the threads, unless they run.
  func prepare() throws(Errno) {
    try state.withLock { state throws(Errno) in
      guard state.running == 0, !state.isStopped else { return }
      for number in 0..<Self.count {
        do throws(Errno) {
          try Thread.start(name: "vsoc-claims", stackSize: 512 << 10) { [self] in work() }
        } catch {
          if number == 0 { throw error }
          return
        }
        state.running += 1
      }
    }
  }

  /// Carries it out after those of the same user that came before; at once if there are no threads.
  func run(for user: UInt32, _ job: @escaping Job) {
    guard (try? prepare()) != nil else { return job() }
    let (isReady, isStopped) = state.withLock { state -> (Bool, Bool) in
      if state.isStopped { return (false, true) }
      let isReady = state.users[user] == nil
      state.users[user, default: []].append(job)
      if isReady { state.ready.append(user) }
      return (isReady, false)
    }
    if isReady { wakeups.signal() }
    // It finds that its caller has been answered.
    if isStopped { job() }
  }

  private func work() {
    while true {
      wakeups.wait()
      while let (user, job) = state.withLock({ $0.isStopped ? nil : $0.next() }) {
        job()
        let isReady = state.withLock { state -> Bool in
          state.finish(user)
          return !state.ready.isEmpty
        }
        // Who has been woken for it may have nothing to do: this thread goes on.
        if !isReady { break }
      }
      let isLast = state.withLock { state -> Bool? in
        guard state.isStopped else { return nil }
        state.running -= 1
        return state.running == 0
      }
      if isLast == true { ended.signal() }
      if isLast != nil { return }
    }
  }

  /// Ends the threads, and waits a while for what they are carrying out: so long as that may take when
  /// nothing can be waited for any more.
  func stop(within nanoseconds: UInt64) {
    let running = state.withLock { state in
      state.isStopped = true
      return state.running
    }
    guard running > 0 else { return }
    for _ in 0..<running { wakeups.signal() }
    _ = ended.wait(
      until: MonotonicInstant(nanoseconds: MonotonicInstant.now.nanoseconds + nanoseconds))
  }
}
