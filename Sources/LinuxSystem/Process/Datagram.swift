// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A message for a UNIX datagram socket.
package enum Datagram {
  /// Sends to the socket at `path`, or one without a file if that begins with `@`.
  ///
  /// - Parameter waits: for room in a socket that is full.
  /// - Returns: whether it was sent.
  package static func send(_ text: String, to path: String, waits: Bool) -> Bool {
    unsafe vsocfs_send_datagram(path, text, waits) == 0
  }
}
