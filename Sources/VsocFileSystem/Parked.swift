// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import VsocEngine

/// Where a request meets its answer, whichever comes first.
///
/// A wait can be over before its request is put here: an interrupt may come while it is being
/// arranged. The answer then waits for the request, and is given by whoever brings that.
final class Parked<Answer>: Sendable {
  typealias Action = @Sendable (consuming Request<Answer>) -> Void

  private struct State: ~Copyable {
    var request: Request<Answer>?
    var action: Action?
  }

  private let state = Lock(State(request: nil, action: nil))

  /// Lets the request wait. Whatever ends the wait calls `finish`.
  func park(_ request: consuming Request<Answer>, on wait: Waiter) {
    wait.register(for: request.caller.uid)
    request.reportInterrupt(as: wait.token)
    put(request)
    wait.begin()
  }

  /// Leaves the request to be answered by `finish`.
  private func put(_ request: consuming Request<Answer>) {
    var incoming: Request<Answer>? = consume request
    let action = state.withLock { state -> Action? in
      guard let action = state.action else {
        state.request = incoming.take()
        return nil
      }
      return action
    }
    if let action, let request = incoming.take() { action(request) }
  }

  /// Answers the request, now or when it is put here. To be called once.
  func finish(_ action: @escaping Action) {
    let request = state.withLock { state -> Request<Answer>? in
      if state.request == nil { state.action = action }
      return state.request.take()
    }
    if let request { action(request) }
  }
}
