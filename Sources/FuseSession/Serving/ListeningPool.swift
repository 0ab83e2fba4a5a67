// SPDX-License-Identifier: Apache-2.0

internal import CFuseIO
internal import LinuxSystem

/// Who listens on a connection of which the daemon itself is a client: it maps files of its own
/// mount, and a thread of it that touches such memory waits for the answer to another request.
///
/// Two threads listen, so that a client's next request finds one while its last is being carried
/// out; the others sleep. A listener answers requests for pages itself, which needs nothing that a
/// waiting thread could hold. For any other it leaves, and if it was the last one, one of those that
/// sleep takes its place. If none is left to do so it stays: what may wait is queued until a thread
/// comes back, what must not is carried out there and then. So somebody always listens, no thread is
/// ever started when one is needed, and no request waits for pages that nobody serves. The queue is
/// as long as there are callers that wait for an answer, and closed files that nobody has let go of.
final class ListeningPool: Sendable {
  private static let listeners = 2

  private struct State {
    var listening = 0
    var sleeping = 0
    var queue: [Work] = []
    var isEnded = false

    /// Takes a listener away if another one is left, or one that sleeps takes its place.
    mutating func replaceListener() -> Replacement? {
      if listening > 1 {
        listening -= 1
        return .listens
      }
      guard sleeping > 0 else { return nil }
      // It listens from now on, as far as anybody else is concerned.
      sleeping -= 1
      return .sleeps
    }
  }

  private enum Replacement {
    case listens, sleeps
  }

  /// What waits for a thread.
  enum Work {
    case request(QueuedRequest)
    /// The kernel has been answered.
    case close(handle: UInt64)
  }

  enum Turn {
    case listen
    case carryOut(Work)
    case end
  }

  /// So many can be queued without memory that would have to be got first.
  private static let preallocated = 16_384

  private let state: Lock<State>
  private let wakeups: Semaphore

  init(_ wakeups: consuming Semaphore) {
    self.wakeups = wakeups
    var state = State()
    state.queue.reserveCapacity(Self.preallocated)
    self.state = Lock(state)
  }

  /// What a thread that has nothing to do goes on with; sleeps until there is something.
  func next() -> Turn {
    let turn = state.withLock { state -> Turn? in
      if state.isEnded { return .end }
      if !state.queue.isEmpty { return .carryOut(state.queue.removeFirst()) }
      if state.listening < Self.listeners {
        state.listening += 1
        return .listen
      }
      state.sleeping += 1
      return nil
    }
    if let turn { return turn }
    wakeups.wait()
    return state.withLock { $0.isEnded ? .end : .listen }
  }

  /// How many threads have nothing to do.
  var sleepingCount: Int { state.withLock { $0.sleeping } }

  /// A listener wants to carry a request out. False if nobody can take its place.
  func leave() -> Bool {
    wake(state.withLock { $0.replaceListener() })
  }

  /// The same, and if nobody can, the request is left to whoever comes back first. Both at once:
  /// one who comes back in between would listen and not see it.
  func leave(orQueue work: Work) -> Bool {
    wake(
      state.withLock { state in
        let replacement = state.replaceListener()
        if replacement == nil { state.queue.append(work) }
        return replacement
      })
  }

  private func wake(_ replacement: Replacement?) -> Bool {
    if replacement == .sleeps { wakeups.signal() }
    return replacement != nil
  }

  /// The connection is dead: everybody ends.
  func end() {
    let sleeping = state.withLock { state in
      state.isEnded = true
      state.queue.removeAll()
      defer { state.sleeping = 0 }
      return state.sleeping
    }
    for _ in 0..<sleeping { wakeups.signal() }
  }
}

/// A copy of a request that waits for a thread.
@safe
final class QueuedRequest: @unchecked Sendable {
  let bytes: UnsafeMutableRawBufferPointer

  init(copying request: UnsafeMutableRawPointer, length: Int) {
    unsafe bytes = .allocate(byteCount: length, alignment: 8)
    unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(start: request, count: length))
  }

  deinit { unsafe bytes.deallocate() }
}
