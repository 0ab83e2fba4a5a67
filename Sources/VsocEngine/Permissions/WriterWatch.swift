// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
internal import SystemPackage

/// Hears when an area that nobody has a handle of any more loses the last mapping that keeps it.
///
/// Its thread, `vsoc-areas`, starts with the first such area and then stays. Without it, which is where
/// the kernel gives no watch, the next claim finds out.
final class WriterWatch: Sendable {
  private struct State: ~Copyable {
    var notifier: Shared?
    var watches: [Int32: (holding: Holding, region: Region)] = [:]
    var isStopped = false
  }

  private final class Shared: Sendable {
    let notifier: CloseNotifier
    let stop: EventDescriptor

    init() throws(Errno) {
      notifier = try CloseNotifier()
      stop = try EventDescriptor()
    }
  }

  private let state = Lock(State())

  /// Settles the permission when it has lost its last writer. What is lost before is not heard of.
  func add(_ holding: Holding, of region: Region) {
    state.withLock { state in
      guard !state.isStopped else { return }
      do throws(Errno) {
        let shared: Shared
        if let notifier = state.notifier { shared = notifier } else { shared = try start() }
        state.notifier = shared
        let watch = try shared.notifier.watch(holding.file.descriptor.raw)
        state.watches[watch] = (holding, region)
      } catch {
        region.log.warning("the end of a mapping will be noticed late: \(error)")
      }
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
      state.notifier.take()?.stop.signal()
    }
  }

  private func start() throws(Errno) -> Shared {
    let shared = try Shared()
    let epoll = try Epoll()
    let (closed, stop): (UInt64, UInt64) = (1, 2)
    try epoll.add(shared.notifier.descriptor, token: closed)
    try epoll.add(shared.stop.descriptor, token: stop)
    let waiting = WaitingSet(epoll)
    try Thread.start(name: "vsoc-areas", stackSize: 256 << 10) { [self] in
      while let tokens = try? waiting.epoll.wait(), !tokens.contains(stop) {
        let watches = shared.notifier.read()
        let ended = state.withLock { state in watches.compactMap { state.watches[$0] } }
        for (holding, region) in ended { _ = region.settle(holding) }
      }
    }
    return shared
  }

  private final class WaitingSet: Sendable {
    let epoll: Epoll
    init(_ epoll: consuming Epoll) { self.epoll = epoll }
  }
}
