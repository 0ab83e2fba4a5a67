// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
internal import SystemPackage
internal import VsocProtocol

/// Hears the bells of all regions, in a thread of its own, `vsoc-bells`, which starts with the first one; and
/// has what it takes to ring them.
///
/// No ring is missed, also if a peer has read it by then. That it has may be taken for another ring: the
/// two cannot be told apart without reading oneself.
final class BellWatch: Sendable {
  private struct State: ~Copyable {
    var ringer: Ringer?
    var shared: Shared?
    var regions: [UInt64: (region: Region, bells: BellPair)] = [:]
    var lastToken: UInt64 = Token.owed
    /// Those that the kernel had no memory to ring.
    var owed: [ObjectIdentifier: SharedEvent] = [:]
    var isStopped = false
  }

  private enum Token { static let owed: UInt64 = 1 }

  private final class Shared: Sendable {
    let thread: EventThread
    /// When what is owed is tried again.
    let timer: TimerDescriptor

    init() throws(Errno) {
      thread = try EventThread()
      timer = try TimerDescriptor()
      try thread.epoll.add(timer.descriptor, token: Token.owed)
    }
  }

  private static let patience: UInt64 = 10_000_000

  private let state = Lock(State())
  private let makeRinger: Engine.RingerSource
  private let log: Logger

  init(ringer: @escaping Engine.RingerSource, log: Logger) {
    makeRinger = ringer
    self.log = log
  }

  // MARK: Ringing

  /// Gets a ringer while there is one to be had.
  func prepare() {
    do throws(Errno) {
      _ = try ringer()
    } catch {
      log.warning(
        "no peer can take part before it can be rung (see /proc/sys/fs/aio-max-nr): \(error)")
    }
  }

  /// What rings events that others have.
  ///
  /// - Throws: EAGAIN: it cannot be had, and so nobody may have an event.
  func ringer() throws(Errno) -> Ringer {
    try state.withLock { state throws(Errno) in
      if let ringer = state.ringer { return ringer }
      let ringer = try makeRinger()
      state.ringer = ringer
      return ringer
    }
  }

  /// Rings, now or as soon as the kernel has memory for it; never waits. No lock may be held.
  func ring(_ event: SharedEvent) {
    do throws(Errno) {
      try event.ring()
    } catch {
      log.error("a peer is rung late: \(error)")
      state.withLock { state in
        guard let shared = state.shared else { return }
        state.owed[ObjectIdentifier(event)] = event
        shared.timer.set(Self.nextTry)
      }
    }
  }

  private static var nextTry: MonotonicInstant {
    MonotonicInstant(nanoseconds: MonotonicInstant.now.nanoseconds + patience)
  }

  private func ringOwed() {
    let owed = state.withLock { state in
      defer { state.owed.removeAll() }
      return Array(state.owed.values)
    }
    for event in owed { ring(event) }
  }

  // MARK: Hearing

  /// Has the region look whenever one of its bells is rung, which nobody can before this returns.
  func add(_ bells: BellPair, of region: Region) throws(Errno) {
    try state.withLock { state throws(Errno) in
      guard !state.isStopped else { throw .operationNotSupportedByDevice }
      let shared: Shared
      if let started = state.shared { shared = started } else { shared = try start() }
      state.shared = shared
      state.lastToken += 1
      try shared.thread.epoll.add(bells.epoll, token: state.lastToken)
      state.regions[state.lastToken] = (region, bells)
    }
  }

  /// The region is gone.
  func forget(_ bells: BellPair) {
    state.withLock { state in
      let known = state.regions.first { $0.value.bells === bells }
      guard let token = known?.key else { return }
      state.shared?.thread.epoll.remove(bells.epoll)
      state.regions.removeValue(forKey: token)
    }
  }

  /// Ends the thread.
  func stop() {
    state.withLock { state in
      state.isStopped = true
      state.regions.removeAll()
      state.owed.removeAll()
      state.shared.take()?.thread.stop()
    }
  }

  private func start() throws(Errno) -> Shared {
    let shared = try Shared()
    try shared.thread.start(name: "vsoc-bells") { [self] tokens in
      for token in tokens {
        if token == Token.owed {
          shared.timer.clear()
          ringOwed()
        } else {
          hear(token)
        }
      }
    } failed: { [log] error in
      log.error("rings of peers are not heard any more: \(error)")
    }
    return shared
  }

  private func hear(_ token: UInt64) {
    guard let (region, bells) = state.withLock({ $0.regions[token] }) else { return }
    do throws(Errno) {
      for end in try bells.takeRung() { region.hearBell(of: end) }
    } catch {
      log.error("rings in region \"\(region.name)\" are not heard: \(error)")
    }
  }
}
