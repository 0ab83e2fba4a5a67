// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import VsocEngine

/// Who polls an open file. Level and edge users alike are told once of a change, and again only
/// after they have looked: until then the first notification is still with them.
///
/// No wakeup is lost. `rearm` comes before the look at the file's readiness, whose state a ring
/// changes before it comes here; so either the look sees the ring, or the ring finds the handle.
final class PollState: ReadinessObserver {
  private struct State {
    var handle: PollHandle?
    var isNotified = false
  }

  private let state = Lock(State())

  /// The pollers are about to be told how things are. Keeps the latest handle, if there is one: an
  /// edge-triggered epoll asks once and expects to be told of every later change.
  func rearm(_ handle: PollHandle?) {
    // The old handle goes after the lock is released: it may be the session's last reference.
    let old = state.withLock { state -> PollHandle? in
      state.isNotified = false
      guard let handle else { return nil }
      let old = state.handle
      state.handle = handle
      return old
    }
    _ = old
  }

  /// The file was read: the next change is news.
  func looked() {
    state.withLock { $0.isNotified = false }
  }

  func readinessMayHaveChanged(isOneOfMany: Bool) {
    let handle = state.withLock { state -> PollHandle? in
      guard !state.isNotified else { return nil }
      state.isNotified = state.handle != nil
      return state.handle
    }
    if isOneOfMany { handle?.notifyLater() } else { handle?.notify() }
  }
}
