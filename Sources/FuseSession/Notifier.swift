// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Synchronization

/// Notifies crowds of pollers, from a thread of its own: whoever rang does not wait until a thousand
/// have been told, nor does the next request. A few are notified at once, where they are found; a
/// thread between would cost more than they do.
///
/// The queue is as long as there are poll handles at most, since one that has not been looked at is
/// not notified again.
final class Notifier: @unchecked Sendable {
  private struct State {
    var handles: [PollHandle] = []
    var isStarted = false
    var isStopped = false
  }

  private let state = Lock(State())
  private let event: EventDescriptor

  init?() {
    guard let event = try? EventDescriptor() else { return nil }
    self.event = event
  }

  /// Notifies the handle soon, in the order in which they came. The first one starts the thread;
  /// if none can be had, the caller does it.
  func add(_ handle: PollHandle) {
    let isQueued = state.withLock { state -> Bool in
      if state.isStopped { return true }
      if !state.isStarted {
        guard (try? Thread.start(name: "vsoc-notify", { [self] in run() })) != nil else {
          return false
        }
        state.isStarted = true
      }
      state.handles.append(handle)
      return true
    }
    if isQueued { event.signal() } else { handle.notify() }
  }

  /// Ends the thread, and lets go of what is still queued.
  func stop() {
    state.withLock { state in
      state.isStopped = true
      state.handles.removeAll()
    }
    event.signal()
  }

  private func run() {
    while true {
      event.wait()
      event.clear()
      let (handles, isStopped) = state.withLock { state in
        defer { state.handles.removeAll(keepingCapacity: true) }
        return (state.handles, state.isStopped)
      }
      if isStopped { return }
      for handle in handles { handle.notify() }
    }
  }
}
