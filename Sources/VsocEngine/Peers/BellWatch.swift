// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocProtocol

/// Hears the bells of all regions, in a thread of its own, `vsoc-bells`, which starts with the first one.
final class BellWatch: Sendable {
  private struct State: ~Copyable {
    var shared: Shared?
    var bells: [UInt64: (region: Region, end: End)] = [:]
    var lastToken: UInt64 = Token.stop
    var isStopped = false
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

  /// Has the region look whenever one of its bells is rung. Not undone: see `forget`.
  func add(_ bells: Bells, of region: Region) throws(Errno) {
    try state.withLock { state throws(Errno) in
      guard !state.isStopped else { throw .operationNotSupportedByDevice }
      let shared: Shared
      if let started = state.shared { shared = started } else { shared = try start() }
      state.shared = shared
      for end in End.allCases {
        state.lastToken += 1
        try shared.epoll.addEdges(of: bells[end].descriptor, token: state.lastToken)
        state.bells[state.lastToken] = (region, end)
      }
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
      state.bells.removeAll()
      state.shared.take()?.stop.signal()
    }
  }

  private func start() throws(Errno) -> Shared {
    let shared = try Shared()
    try Thread.start(name: "vsoc-bells", stackSize: 256 << 10) { [self] in
      while let tokens = try? shared.epoll.wait(), !tokens.contains(Token.stop) {
        let rung = state.withLock { state in tokens.compactMap { state.bells[$0] } }
        for (region, end) in rung { region.hearBell(of: end) }
      }
    }
    return shared
  }
}
