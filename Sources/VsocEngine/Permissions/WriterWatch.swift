// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
internal import SystemPackage

/// Hears when an area that nobody has a handle of any more loses the last mapping that keeps it.
///
/// The kernel tells of the end of a descriptor or a mapping before it takes it from the count of writers,
/// which it does a moment later: so what is told of is looked at some more times, at growing distances.
///
/// Its thread, `vsoc-areas`, starts with the first such area and then stays. Without it, which is where
/// the kernel gives no watch, the next claim finds out.
final class WriterWatch: Sendable {
  private typealias Watched = (holding: Holding, region: Region)

  private struct State: ~Copyable {
    var notifier: Shared?
    var watches: [Int32: Watched] = [:]
    var isStopped = false
  }

  private final class Shared: Sendable {
    let notifier: CloseNotifier
    let thread: EventThread
    let timer: TimerDescriptor
    /// Only its thread looks there.
    let again = Lock(Again())

    enum Token { static let (closed, timer): (UInt64, UInt64) = (1, 2) }

    init() throws(Errno) {
      notifier = try CloseNotifier()
      thread = try EventThread()
      timer = try TimerDescriptor()
      try thread.epoll.add(notifier.descriptor, token: Token.closed)
      try thread.epoll.add(timer.descriptor, token: Token.timer)
    }
  }

  private let state = Lock(State())
  private let log: Logger

  init(log: Logger) { self.log = log }

  /// Settles the permission when it has lost its last writer. What is lost before is not heard of.
  func add(_ holding: Holding, of region: Region) {
    do throws(Errno) {
      try state.withLock { state throws(Errno) in
        guard !state.isStopped else { return }
        let shared: Shared
        if let notifier = state.notifier { shared = notifier } else { shared = try start() }
        state.notifier = shared
        let watch = try shared.notifier.watch(holding.file.descriptor.raw)
        state.watches[watch] = (holding, region)
      }
    } catch {
      region.log.warning("the end of a mapping will be noticed late: \(error)")
    }
  }

  func remove(_ holding: Holding) {
    state.withLock { state in
      guard let watch = state.watches.first(where: { $0.value.holding === holding })?.key else {
        return
      }
      state.watches.removeValue(forKey: watch)
      state.notifier?.notifier.unwatch(watch)
    }
  }

  /// Ends the thread.
  func stop() {
    state.withLock { state in
      state.isStopped = true
      state.watches.removeAll()
      state.notifier.take()?.thread.stop()
    }
  }

  private func start() throws(Errno) -> Shared {
    let shared = try Shared()
    try shared.thread.start(name: "vsoc-areas") { [self] tokens in
      lookAgain(tokens, shared)
    } failed: { [log] error in
      log.error("ends of mappings will be noticed late from now on: \(error)")
    }
    return shared
  }

  private func lookAgain(_ tokens: [UInt64], _ shared: Shared) {
    var told: [Watched] = []
    if tokens.contains(Shared.Token.closed) {
      let watches = shared.notifier.read()
      told = state.withLock { state in watches.compactMap { state.watches[$0] } }
    }
    if tokens.contains(Shared.Token.timer) { shared.timer.clear() }
    var again = shared.again.withLock { $0 }
    again.begin(told)
    again.looks.removeAll { $0.region.settle($0.holding) }
    if let next = again.next() { shared.timer.set(next) }
    shared.again.withLock { $0 = again }
  }

  /// What the kernel has told of, and how often it is still to be looked at.
  private struct Again {
    struct Look {
      let holding: Holding
      let region: Region
      var left = Again.count
    }

    /// At distances of 1, 2, 4... ms: for half a second in all.
    private static let count = 9
    var looks: [Look] = []

    mutating func begin(_ told: [Watched]) {
      for (holding, region) in told {
        looks.removeAll { $0.holding === holding }
        looks.append(Look(holding: holding, region: region))
      }
    }

    /// When to look at what is left; nil: not again.
    mutating func next() -> MonotonicInstant? {
      looks.removeAll { $0.left == 0 }
      guard let most = looks.map(\.left).max() else { return nil }
      for index in looks.indices { looks[index].left -= 1 }
      let distance = UInt64(1_000_000) << UInt64(Self.count - most)
      return MonotonicInstant(nanoseconds: MonotonicInstant.now.nanoseconds + distance)
    }
  }
}
