// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc

/// Standard input, output and error.
package enum StandardStreams {
  /// Opens those that whoever started the program left closed, so that nothing else gets their
  /// numbers and with them what is meant for stderr.
  package static func ensureOpen() {
    _ = vsocfs_open_standard_streams()
  }

  /// Whether standard error is what a service manager has named, as `device:inode` (JOURNAL_STREAM).
  package static func isStandardError(_ stream: String) -> Bool {
    let numbers = stream.split(separator: ":").map { UInt64($0) }
    guard numbers.count == 2, let device = numbers[0], let inode = numbers[1] else { return false }
    return vsocfs_standard_error_is(device, inode)
  }

  /// Writes to standard error in one piece, so that lines of several threads do not mix.
  ///
  /// - Returns: whether all of it was written.
  @discardableResult
  package static func writeError(_ text: String) -> Bool {
    var text = text
    return text.withUTF8 { bytes in
      unsafe write(STDERR_FILENO, bytes.baseAddress, bytes.count) == bytes.count
    }
  }

  /// Lets go of a terminal or a pipe, which would otherwise stay open as long as the daemon runs.
  package static func detach() {
    _ = vsocfs_detach_standard_streams()
  }
}
