// SPDX-License-Identifier: Apache-2.0

internal import CFuse3

/// The kernel's way to a file's pollers. It may be used any number of times, from any thread; the
/// file needs only the latest one. Keeps the session, which must not go before it.
@safe
package final class PollHandle: @unchecked Sendable {
  private let raw: OpaquePointer
  private let session: Session

  init(_ raw: OpaquePointer, _ session: Session) {
    unsafe self.raw = unsafe raw
    self.session = session
  }

  deinit {
    unsafe fuse_pollhandle_destroy(raw)
  }

  /// Makes those who poll the file ask again. No lock may be held. The kernel only wakes them
  /// here, it calls for nothing in return, so that any thread may do it.
  package func notify() {
    unsafe fuse_lowlevel_notify_poll(raw)
  }

  /// The same from the session's own thread: for one of many.
  package func notifyLater() {
    session.notifyLater(self)
  }
}
