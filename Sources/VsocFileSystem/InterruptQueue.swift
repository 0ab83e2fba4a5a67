// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage

/// Tokens of waits whose callers got a signal. They arrive with libfuse's locks held, where nothing
/// can be answered, and are taken by a thread that can. At most one for each wait.
package final class InterruptQueue: Sendable {
  private let tokens = Lock<[UInt64]>([])
  let event: EventDescriptor

  package init() throws(Errno) {
    event = try EventDescriptor()
  }

  func add(_ token: UInt64) {
    tokens.withLock { $0.append(token) }
    event.signal()
  }

  /// All tokens that have come since.
  func take() -> [UInt64] {
    event.clear()
    return tokens.withLock { tokens in
      defer { tokens.removeAll() }
      return tokens
    }
  }
}
