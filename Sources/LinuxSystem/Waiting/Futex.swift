// SPDX-License-Identifier: Apache-2.0

internal import CLinux
package import SystemPackage

/// futex(2) on words that other processes map too.
package enum Futex {
  /// Wakes everybody who sleeps on `word`; the number woken.
  @discardableResult
  package static func wakeAll(_ word: UnsafeRawPointer) -> Int {
    Int(max(unsafe vsocfs_futex_wake(word, Int32(VSOCFS_FUTEX_WAKE_ALL)), 0))
  }

  /// Wakes whoever sleeps on a word of this process's own memory.
  package static func wakePrivate(_ word: UnsafeRawPointer) {
    _ = unsafe vsocfs_futex_wake_private(word, Int32(VSOCFS_FUTEX_WAKE_ALL))
  }
}

/// The argument of futex_waitv(2): up to 128 words, each with the value it must still have.
package struct FutexWaitSet: ~Copyable {
  package static let capacity = Int(VSOCFS_FUTEX_WAITV_MAX)

  package enum Outcome {
    /// The word of this index was woken; others may have been as well.
    case woken(Int)
    /// Some word has another value than the one given.
    case changed
    case interrupted
    case failed(Errno)
  }

  private var entries: [vsocfs_futex_waitv] = []

  package init() {
    entries.reserveCapacity(Self.capacity)
  }

  package mutating func removeAll() {
    entries.removeAll(keepingCapacity: true)
  }

  package mutating func append(
    _ word: UnsafeRawPointer, value: UInt32, isShared: Bool
  ) {
    let flags = isShared ? VSOCFS_FUTEX_SHARED_U32 : VSOCFS_FUTEX_PRIVATE_U32
    entries.append(
      vsocfs_futex_waitv(
        value: UInt64(value), address: UInt64(UInt(bitPattern: word)), flags: UInt32(flags),
        reserved: 0))
  }

  /// Sleeps until a word is woken, without a timeout.
  package mutating func wait() -> Outcome {
    let count = UInt32(entries.count)
    let result = unsafe vsocfs_futex_waitv(&entries, count)
    if result >= 0 { return .woken(Int(result)) }
    switch Errno(rawValue: -result) {
    case .resourceTemporarilyUnavailable: return .changed
    case .interrupted: return .interrupted
    case let error: return .failed(error)
    }
  }
}
