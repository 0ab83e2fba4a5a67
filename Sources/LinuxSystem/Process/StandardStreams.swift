// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// Standard input, output and error.
package enum StandardStreams {
  /// Opens those that whoever started the program left closed, so that nothing else gets their
  /// numbers and with them what is meant for stderr.
  package static func ensureOpen() {
    _ = vsocfs_open_standard_streams()
  }

  /// Lets go of a terminal or a pipe, which would otherwise stay open as long as the daemon runs.
  package static func detach() {
    _ = vsocfs_detach_standard_streams()
  }
}
