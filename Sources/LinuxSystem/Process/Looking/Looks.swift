// SPDX-License-Identifier: Apache-2.0

package import SystemPackage

/// Looks into other processes without waiting for them: by processes of their own (`LookHelper`), which
/// can be given up.
///
/// What is looked at may keep a look waiting for as long as it likes, and unkillably: with a page of a file
/// system of its own. So a look has a deadline. Then its helper is killed, which it notices when what it
/// waits for comes, and nobody waits for that. One look of a user is under way at a time, and none while
/// such a helper of his is left: he holds one process at most, and keeps nobody else from being looked
/// at.
///
/// The thread `vsoc-looks` hears the helpers, starts and ends them. It starts with the first look, or by
/// `prepare`.
package final class Looks: Looking {
  /// Nanoseconds that a look may take.
  private static let patience: UInt64 = 2_000_000_000
  /// Looks of one user that wait for their turn.
  private static let waitingPerUser = 4096
  /// Helpers that look at the same time; those that do nothing and are kept.
  private static let (most, spare) = (16, 2)
  /// Helpers that were given up and are there still.
  private static let mostStuck = 256

  private struct Pending {
    let look: Look
    let completion: @Sendable (Result<Seen, Errno>) -> Void
  }

  private struct User {
    var waiting: [Pending] = []
    /// One more is under way.
    var isBusy = false
  }

  private struct Work {
    let helper: LookHelper
    let user: UInt32
    let pending: Pending
    let deadline: MonotonicInstant
  }

  private struct State {
    var users: [UInt32: User] = [:]
    /// Who has something waiting, and nothing under way.
    var ready: [UInt32] = []
    var idle: [(number: UInt64, helper: LookHelper)] = []
    /// What is under way, by the number of the helper.
    var busy: [UInt64: Work] = [:]
    /// Helpers that were given up, and whose they are.
    var stuck: [UInt64: (helper: LookHelper, user: UInt32)] = [:]
    /// Whether one is to be started although nobody waits for it.
    var needsSpare = false
    var isStarted = false
    var isStopped = false
    var isTimed = false

    func isStuck(_ user: UInt32) -> Bool { stuck.values.contains { $0.user == user } }

    /// The next look of somebody, if there is a helper.
    mutating func assign() -> Work? {
      guard !ready.isEmpty, let (number, helper) = idle.popLast() else { return nil }
      let user = ready.removeFirst()
      guard let pending = users[user]?.waiting.removeFirst() else { return nil }
      users[user]?.isBusy = true
      let deadline = MonotonicInstant(nanoseconds: MonotonicInstant.now.nanoseconds + patience)
      let work = Work(helper: helper, user: user, pending: pending, deadline: deadline)
      busy[number] = work
      return work
    }

    /// The user's look is over.
    mutating func finish(_ user: UInt32) {
      guard var entry = users[user] else { return }
      entry.isBusy = false
      users[user] = entry.waiting.isEmpty ? nil : entry
      if !entry.waiting.isEmpty { ready.append(user) }
    }
  }

  private let state = Lock(State())
  private let event: EventDescriptor
  private let timer: TimerDescriptor
  private let executable: String
  /// Told what goes wrong that nobody else is told of.
  private let log: @Sendable (String) -> Void

  /// - Parameter executable: this program, which calls `LookHelper.runIfAsked`.
  package init(
    executable: String = "/proc/self/exe", log: @escaping @Sendable (String) -> Void
  ) throws(Errno) {
    event = try EventDescriptor()
    timer = try TimerDescriptor()
    self.executable = executable
    self.log = log
  }

  /// Has a helper at hand.
  package func prepare() throws(Errno) {
    try state.withLock { state throws(Errno) in
      try start(&state)
      state.needsSpare = true
    }
    event.signal()
  }

  package func look(
    _ look: Look, for user: UInt32,
    then completion: @escaping @Sendable (Result<Seen, Errno>) -> Void
  ) {
    let outcome: Result<Work?, Errno>
    do throws(Errno) {
      outcome = .success(try add(Pending(look: look, completion: completion), for: user))
    } catch {
      outcome = .failure(error)
    }
    switch outcome {
    case .success(let work?): work.helper.ask(work.pending.look)
    // It is another's turn, or a helper has to be started.
    case .success(nil): event.signal()
    case .failure(let error): completion(.failure(error))
    }
  }

  private func add(_ pending: Pending, for user: UInt32) throws(Errno) -> Work? {
    try state.withLock { state throws(Errno) in
      guard !state.isStopped else { throw .operationNotSupportedByDevice }
      guard !state.isStuck(user), state.stuck.count < Self.mostStuck,
        (state.users[user]?.waiting.count ?? 0) < Self.waitingPerUser
      else { throw .resourceTemporarilyUnavailable }
      try start(&state)
      var entry = state.users[user] ?? User()
      entry.waiting.append(pending)
      if !entry.isBusy, entry.waiting.count == 1 { state.ready.append(user) }
      state.users[user] = entry
      return assign(&state)
    }
  }

  /// Sees to it that the deadline is noticed.
  private func assign(_ state: inout State) -> Work? {
    guard let work = state.assign() else { return nil }
    if !state.isTimed { timer.set(work.deadline) }
    state.isTimed = true
    return work
  }

  /// Ends the thread and, by the end of their sockets, all helpers; nobody waits for those that look. What
  /// has not been looked at is not told.
  package func stop() {
    let idle = state.withLock { state in
      state.isStopped = true
      state.users = [:]
      state.ready = []
      defer { state.idle = [] }
      return state.idle
    }
    event.signal()
    for (_, helper) in idle { helper.endNow() }
  }

  // MARK: The thread

  private enum Token { static let (event, timer): (UInt64, UInt64) = (0, 1) }

  /// How a helper is heard: its answers, and its end.
  private static func tokens(_ number: UInt64) -> (answer: UInt64, end: UInt64) {
    (2 * number, 2 * number + 1)
  }

  private final class WaitingSet: Sendable {
    let epoll: Epoll
    init(_ epoll: consuming Epoll) { self.epoll = epoll }
  }

  private func start(_ state: inout State) throws(Errno) {
    if state.isStarted { return }
    let epoll = try Epoll()
    try epoll.add(event.descriptor, token: Token.event)
    try epoll.add(timer.descriptor, token: Token.timer)
    let waiting = WaitingSet(epoll)
    try Thread.start(name: "vsoc-looks", stackSize: 256 << 10) { [self] in run(waiting.epoll) }
    state.isStarted = true
  }

  private func run(_ epoll: borrowing Epoll) {
    var last: UInt64 = 0
    while true {
      let tokens: [UInt64]
      do throws(Errno) {
        tokens = try epoll.wait()
      } catch {
        log("nobody can be looked at any more: \(error)")
        return end()
      }
      for token in tokens {
        switch token {
        case Token.event: event.clear()
        case Token.timer: giveUp()
        case let token where token % 2 == 0: hear(token / 2, epoll)
        case let token: bury(token / 2, epoll)
        }
      }
      if state.withLock({ $0.isStopped }) { return end() }
      assignAll(epoll, &last)
    }
  }

  /// Nobody is left to look: whoever waits is told.
  private func end() {
    let waiting = state.withLock { state in
      let waiting =
        state.users.values.flatMap(\.waiting) + state.busy.values.map(\.pending)
      let stuck = state.stuck
      state = State()
      (state.isStarted, state.isStopped, state.stuck) = (true, true, stuck)
      return waiting
    }
    for pending in waiting { pending.completion(.failure(.operationNotSupportedByDevice)) }
  }

  /// A helper has answered, or closed its socket.
  private func hear(_ number: UInt64, _ epoll: borrowing Epoll) {
    guard let helper = helper(number) else { return }
    switch helper.answer() {
    case .nothing: return
    case .ended:
      // Its end is told, too.
      epoll.remove(helper.socket)
      helper.kill()
    case .seen(let seen):
      let (work, surplus) = state.withLock { state -> (Work?, LookHelper?) in
        guard let work = state.busy.removeValue(forKey: number) else { return (nil, nil) }
        state.finish(work.user)
        guard state.idle.count < Self.spare || !state.ready.isEmpty else { return (work, helper) }
        state.idle.append((number, helper))
        return (work, nil)
      }
      if let work { work.pending.completion(.success(Seen(seen, of: work.pending.look))) }
      if let surplus {
        epoll.remove(surplus.socket)
        surplus.kill()
        state.withLock { $0.stuck[number] = (surplus, .max) }
      }
    }
  }

  private func helper(_ number: UInt64) -> LookHelper? {
    state.withLock { state in
      state.busy[number]?.helper ?? state.idle.first { $0.number == number }?.helper
    }
  }

  /// A helper has ended, whoever has ended it.
  private func bury(_ number: UInt64, _ epoll: borrowing Epoll) {
    let (helper, work) = state.withLock { state -> (LookHelper?, Work?) in
      if let stuck = state.stuck.removeValue(forKey: number) { return (stuck.helper, nil) }
      if let index = state.idle.firstIndex(where: { $0.number == number }) {
        return (state.idle.remove(at: index).helper, nil)
      }
      let work = state.busy.removeValue(forKey: number)
      if let work { state.finish(work.user) }
      return (work?.helper, work)
    }
    guard let helper else { return }
    epoll.remove(helper.socket)
    epoll.remove(helper.end)
    _ = helper.reap()
    work?.pending.completion(.failure(.resourceTemporarilyUnavailable))
  }

  /// Gives up the looks whose time is over.
  private func giveUp() {
    let now = MonotonicInstant.now
    let (late, refused) = state.withLock { state -> ([Work], [Pending]) in
      let late = state.busy.filter { $0.value.deadline <= now }
      var refused: [Pending] = []
      for (number, work) in late {
        state.busy.removeValue(forKey: number)
        state.stuck[number] = (work.helper, work.user)
        refused += state.users.removeValue(forKey: work.user)?.waiting ?? []
      }
      let next = state.busy.values.map(\.deadline).min()
      state.isTimed = next != nil
      timer.set(next)
      return (Array(late.values), refused)
    }
    for work in late {
      work.helper.kill()
      work.pending.completion(.failure(.badAddress))
    }
    for pending in refused { pending.completion(.failure(.resourceTemporarilyUnavailable)) }
  }

  /// Gives every helper something to do, and starts those that are missing.
  private func assignAll(_ epoll: borrowing Epoll, _ last: inout UInt64) {
    while true {
      let (work, isMissing) = state.withLock { state -> (Work?, Bool) in
        if let work = assign(&state) { return (work, false) }
        defer { state.needsSpare = false }
        return (nil, state.needsSpare || !state.ready.isEmpty && state.busy.count < Self.most)
      }
      if let work {
        work.helper.ask(work.pending.look)
        continue
      }
      guard isMissing else { return }
      do throws(Errno) {
        let helper = try LookHelper(executable)
        last += 1
        let tokens = Self.tokens(last)
        try epoll.add(helper.socket, token: tokens.answer)
        try epoll.add(helper.end, token: tokens.end)
        let number = last
        state.withLock { $0.idle.append((number, helper)) }
      } catch {
        log("no process can be started that looks into callers: \(error)")
        return refuseAll()
      }
    }
  }

  /// Without anybody who could look soon.
  private func refuseAll() {
    let refused = state.withLock { state -> [Pending] in
      guard state.busy.isEmpty else { return [] }
      defer { (state.users, state.ready) = ([:], []) }
      return state.users.values.flatMap(\.waiting)
    }
    for pending in refused { pending.completion(.failure(.resourceTemporarilyUnavailable)) }
  }
}
