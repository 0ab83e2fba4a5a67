// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import Glibc
internal import LinuxSystem
internal import Logging
internal import SystemPackage

/// Sees to it that the end of a mount comes, whatever its steps wait for: a thread of its own, `vsoc-end`,
/// aborts the connection after `patience`, which ends every wait for a request, and after `rest` more the
/// process.
///
/// What clients have stored in a store through the page cache takes as long to be written back as the disk
/// takes: while that goes on, `patience` begins again, up to `longest` in all.
final class EndWatch: Sendable {
  static let patience = 3000
  static let rest = 1000
  static let longest = 30_000

  private let ended: EventDescriptor

  /// - Parameter mayWriteBack: whether there is something that outlives the mount.
  init(_ session: Session, mayWriteBack: Bool, log: Logger) throws(Errno) {
    ended = try EventDescriptor()
    try Thread.start(name: "vsoc-end", stackSize: 256 << 10) { [self] in
      if waitForEnd(mayWriteBack) { return }
      log.error("the end of the mount is kept waiting: its connection is aborted")
      _ = session.abort()
      if isEnded(within: Self.rest) { return }
      log.error("a thread waits for what cannot be ended: the process ends without it")
      _exit(EXIT_FAILURE)
    }
  }

  /// The end has come.
  func stop() { ended.signal() }

  private func waitForEnd(_ mayWriteBack: Bool) -> Bool {
    let start = MonotonicInstant.now.nanoseconds
    while true {
      let written = Session.pagesWritten
      if isEnded(within: Self.patience) { return true }
      let elapsed = (MonotonicInstant.now.nanoseconds - start) / 1_000_000
      guard mayWriteBack, Session.pagesWritten != written, elapsed < Self.longest else {
        return false
      }
    }
  }

  private func isEnded(within milliseconds: Int) -> Bool {
    ended.wait(until: .after(milliseconds: milliseconds))
  }
}
