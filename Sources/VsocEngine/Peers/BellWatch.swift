// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocProtocol

/// Hears the bells of all regions, in a thread of its own, `vsoc-bells`, which starts with the first one.
///
/// No ring is missed, also if a peer has read it by then. That it has may be taken for another ring: the
/// two cannot be told apart without reading oneself.
final class BellWatch: Sendable {
  private struct State: ~Copyable {
    var shared: Shared?
    var bells: [UInt64: Bell] = [:]
    var lastToken: UInt64 = Token.stop
    var isStopped = false
  }

  private struct Bell {
    let region: Region
    let end: End
    /// Signalled at the first report, which every event gives when it is added.
    var added: Added?
  }

  private final class Added: Sendable {
    let semaphore: Semaphore
    init() throws(Errno) { semaphore = try Semaphore() }
  }

  private enum Token { static let stop: UInt64 = 0 }

  private final class Shared: Sendable {
    let epoll: Epoll
    let stop: EventDescriptor

    init() throws(Errno) {
      epoll = try Epoll()
      stop = try EventDescriptor()
      try epoll.add(stop.descriptor, token: Token.stop)
    }
  }

  private let state = Lock(State())

  /// Has the region look whenever one of its bells is rung, which nobody can before this returns.
  func add(_ bells: Bells, of region: Region) throws(Errno) {
    for end in End.allCases {
      let added = try Added()
      try state.withLock { state throws(Errno) in
        guard !state.isStopped else { throw .operationNotSupportedByDevice }
        let shared: Shared
        if let started = state.shared { shared = started } else { shared = try start() }
        state.shared = shared
        state.lastToken += 1
        try shared.epoll.addEdges(of: bells[end].descriptor, token: state.lastToken)
        state.bells[state.lastToken] = Bell(region: region, end: end, added: added)
      }
      added.semaphore.wait()
    }
  }

  /// The region is gone.
  func forget(_ bells: Bells, of region: Region) {
    state.withLock { state in
      for end in End.allCases { state.shared?.epoll.remove(bells[end].descriptor) }
      state.bells = state.bells.filter { $0.value.region !== region }
    }
  }

  /// Ends the thread.
  func stop() {
    state.withLock { state in
      state.isStopped = true
      for bell in state.bells.values { bell.added?.semaphore.signal() }
      state.bells.removeAll()
      state.shared.take()?.stop.signal()
    }
  }

  private func start() throws(Errno) -> Shared {
    let shared = try Shared()
    try Thread.start(name: "vsoc-bells", stackSize: 256 << 10) { [self] in
      while let tokens = try? shared.epoll.wait(), !tokens.contains(Token.stop) {
        for bell in take(tokens) { bell.region.hearBell(of: bell.end) }
      }
    }
    return shared
  }

  /// Those that were rung.
  private func take(_ tokens: [UInt64]) -> [Bell] {
    state.withLock { state in
      tokens.compactMap { token in
        guard let bell = state.bells[token] else { return nil }
        guard let added = bell.added else { return bell }
        added.semaphore.signal()
        state.bells[token]?.added = nil
        return nil
      }
    }
  }
}
