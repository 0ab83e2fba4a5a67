// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocProtocol

/// Hears the bells of all regions, in a thread of its own, `vsoc-bells`, which starts with the first one.
final class BellWatch: Sendable {
  private struct State: ~Copyable {
    var thread: Control?
    var commands: [Command] = []
    var bells: [UInt64: (region: Region, end: End)] = [:]
    var lastToken = BellWatch.controlToken
    var isStopped = false
  }

  private enum Command: Sendable {
    /// Done when `heard` is signalled: what is rung from then on is heard.
    case add(UInt64, SharedEvent, heard: Heard)
    case remove(UInt64)
  }

  private final class Heard: Sendable {
    let semaphore: Semaphore
    init() throws(Errno) { semaphore = try Semaphore() }
  }

  /// How the thread is told that there are commands.
  private typealias Control = SharedEvent

  private static let controlToken: UInt64 = 0

  private let state = Lock(State())

  /// Has the region look whenever one of its bells is rung, from the return of this call on.
  func add(_ bells: Bells, of region: Region) throws(Errno) {
    for end in End.allCases {
      let heard = try Heard()
      try state.withLock { state throws(Errno) in
        guard !state.isStopped else { throw .operationNotSupportedByDevice }
        let thread: Control
        if let started = state.thread { thread = started } else { thread = try start() }
        state.thread = thread
        state.lastToken += 1
        state.bells[state.lastToken] = (region, end)
        state.commands.append(.add(state.lastToken, bells[end], heard: heard))
        thread.ring()
      }
      heard.semaphore.wait()
    }
  }

  /// The region is gone.
  func forget(_ region: Region) {
    state.withLock { state in
      for (token, bell) in state.bells where bell.region === region {
        state.bells.removeValue(forKey: token)
        state.commands.append(.remove(token))
      }
      state.thread?.ring()
    }
  }

  /// Ends the thread.
  func stop() {
    state.withLock { state in
      state.isStopped = true
      state.bells.removeAll()
      state.thread?.ring()
    }
  }

  private func start() throws(Errno) -> Control {
    let control = try SharedEvent()
    try Thread.start(name: "vsoc-bells", stackSize: 256 << 10) { [self] in
      do throws(Errno) {
        let watch = try RingWatch()
        try watch.add(control, token: Self.controlToken)
        // What was asked for before the watch was there.
        control.ring()
        while try carryOut(watch) {
          let tokens = try watch.wait()
          let rung = state.withLock { state in tokens.compactMap { state.bells[$0] } }
          for (region, end) in rung { region.hearBell(of: end) }
        }
      } catch {
        state.withLock { $0.isStopped = true }
      }
      // Nobody is to wait for a thread that has gone.
      for command in takeCommands() {
        if case .add(_, _, let heard) = command { heard.semaphore.signal() }
      }
    }
    return control
  }

  private func takeCommands() -> [Command] {
    state.withLock { state in
      let commands = state.commands
      state.commands = []
      return commands
    }
  }

  /// False at the end.
  private func carryOut(_ watch: RingWatch) throws(Errno) -> Bool {
    for command in takeCommands() {
      switch command {
      case .add(let token, let event, let heard):
        defer { heard.semaphore.signal() }
        try watch.add(event, token: token)
      case .remove(let token):
        watch.remove(token: token)
      }
    }
    return state.withLock { !$0.isStopped }
  }
}
