// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Owns a file descriptor and closes it.
package struct Descriptor: ~Copyable, Sendable {
  package let raw: Int32

  package init(owning raw: Int32) {
    self.raw = raw
  }

  deinit {
    _ = close(raw)
  }

  /// Gives the descriptor to somebody who will close it.
  package consuming func release() -> Int32 {
    let raw = self.raw
    discard self
    return raw
  }
}
