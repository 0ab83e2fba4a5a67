// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem

/// Tells the end of a line to reads by io_uring(7).
///
/// io_uring takes a regular file that reads fewer bytes than there is room for as one that has more
/// coming: it polls, and reads on behind what it has got. A doorbell would keep such a read until its room
/// is full of rings. So that poll is told that there is something, and the read that follows gets nothing:
/// that is the end, and completes what came before.
///
/// The kernel says of no request that it comes from io_uring. But poll(2), select(2) and epoll(7) always
/// ask for POLLHUP, and io_uring does not: neither when it polls for more, which the thread that has read
/// does next, nor when it looks, by POLLIN alone, whether it may read at all. Other reads by io_uring in
/// the same thread may come in between.
final class Continuation: Sendable {
  private struct State {
    var thread: Int32 = 0
    /// The room that the thread's last read had left, if it had any.
    var rest: Int?
    /// That of reads that were told that there is more, and have not come for it.
    var pending: [Int] = []
    /// One was just told that it may read: perhaps not one of those.
    var isChecked = false
  }

  enum Turn {
    case usual
    /// The rest of a read that was answered.
    case rest
    /// It looked whether it may read, and must not wait now.
    case mustNotWait
  }

  /// More than that are forgotten, which are told the end with the next ring.
  private static let capacity = 64

  /// Of the thread that has read last.
  private let state = Lock(State())

  /// A read of `thread` is answered with less than it had room for.
  func readShort(of thread: Int32, rest: Int) {
    state.withLock { state in
      if state.thread != thread { state = State(thread: thread) }
      state.rest = rest
    }
  }

  /// A read begins. One that goes on is known by its room: the position is of no use, as the kernel does
  /// not count on there.
  func beginRead(of thread: Int32, size: Int) -> Turn {
    state.withLock { state in
      guard state.thread == thread else { return .usual }
      defer { (state.rest, state.isChecked) = (nil, false) }
      guard let index = state.pending.firstIndex(of: size) else {
        return state.isChecked ? .mustNotWait : .usual
      }
      state.pending.remove(at: index)
      return .rest
    }
  }

  /// Whether a poll is to be told that there is something to read, whatever there is.
  func hasRest(for thread: Int32, _ events: PollEvents) -> Bool {
    guard !events.contains(.hangUp), events.contains(.input) else { return false }
    return state.withLock { state in
      guard state.thread == thread else { return false }
      if events == .input {
        state.rest = nil
        state.isChecked = !state.pending.isEmpty
        return state.isChecked
      }
      guard let rest = state.rest.take() else { return false }
      if state.pending.count == Self.capacity { state.pending.removeFirst() }
      state.pending.append(rest)
      return true
    }
  }
}
