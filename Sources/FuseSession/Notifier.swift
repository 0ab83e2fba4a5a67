// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
internal import SystemPackage

/// Notifies crowds of pollers, from a thread of its own: whoever rang does not wait until a thousand
/// have been told, nor does the next request. A few are notified at once, where they are found; a
/// thread between would cost more than they do.
///
/// The queue is as long as there are poll handles at most, since one that has not been looked at is
/// not notified again.
final class Notifier: @unchecked Sendable {
  private struct State {
    var handles: [PollHandle] = []
    var shared: Shared?
    var isStopped = false
  }

  private final class Shared: Sendable {
    let thread: EventThread
    let event: EventDescriptor

    init() throws(Errno) {
      thread = try EventThread()
      event = try EventDescriptor()
      try thread.epoll.add(event.descriptor, token: 1)
    }
  }

  private let state = Lock(State())
  private let log: Logger

  init(log: Logger) { self.log = log }

  /// Notifies the handle soon, in the order in which they came. The first one starts the thread;
  /// if none can be had, the caller does it.
  func add(_ handle: PollHandle) {
    let shared: Shared?
    do throws(Errno) {
      shared = try state.withLock { state throws(Errno) in
        if state.isStopped { return nil }
        let shared: Shared
        if let started = state.shared { shared = started } else { shared = try start() }
        state.shared = shared
        state.handles.append(handle)
        return shared
      }
    } catch {
      log.error("a crowd of pollers is told without a thread for it: \(error)")
      return handle.notify()
    }
    shared?.event.signal()
  }

  /// Ends the thread, and lets go of what is still queued.
  func stop() {
    state.withLock { state in
      state.isStopped = true
      state.handles.removeAll()
      return state.shared
    }?.thread.stop()
  }

  private func start() throws(Errno) -> Shared {
    let shared = try Shared()
    try shared.thread.start(name: "vsoc-notify") { [self] _ in
      shared.event.clear()
      notifyAll()
    } failed: { [self] error in
      log.error("crowds of pollers are told without a thread from now on: \(error)")
      state.withLock { $0.shared = nil }
      notifyAll()
    }
    return shared
  }

  private func notifyAll() {
    let handles = state.withLock { state in
      defer { state.handles.removeAll(keepingCapacity: true) }
      return state.handles
    }
    for handle in handles { handle.notify() }
  }
}
