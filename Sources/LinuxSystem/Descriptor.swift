// SPDX-License-Identifier: Apache-2.0

internal import Glibc
package import SystemPackage

/// Owns a file descriptor and closes it.
package struct Descriptor: ~Copyable, Sendable {
  package let raw: Int32

  package init(owning raw: Int32) {
    self.raw = raw
  }

  deinit {
    _ = close(raw)
  }

  /// Reads what there is until the end, as text.
  package func readToEnd() throws(Errno) -> String {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while true {
      let count = try check(retryOnInterrupt: true) {
        let count = unsafe Glibc.read(raw, &buffer, buffer.count)
        return count < 0 ? -errno : Int32(count)
      }
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += buffer[..<Int(count)]
    }
  }

  /// Gives the descriptor to somebody who will close it.
  package consuming func release() -> Int32 {
    let raw = self.raw
    discard self
    return raw
  }
}
