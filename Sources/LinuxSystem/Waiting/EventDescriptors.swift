// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// An eventfd(2): a counter that makes a descriptor readable.
package struct EventDescriptor: ~Copyable, Sendable {
  package let descriptor: Descriptor

  package init() throws(Errno) {
    descriptor = Descriptor(owning: try check { vsocfs_eventfd() })
  }

  /// Makes the descriptor readable; a full counter (EAGAIN) is readable already.
  package func signal() {
    var one: UInt64 = 1
    _ = unsafe write(descriptor.raw, &one, 8)
  }

  /// Blocks until the descriptor is readable.
  package func wait() {
    var descriptor = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
    while unsafe poll(&descriptor, 1, -1) < 0 && errno == EINTR {}
  }

  /// Makes the descriptor unreadable until the next `signal`.
  package func clear() {
    var count: UInt64 = 0
    _ = unsafe read(descriptor.raw, &count, 8)
  }
}

/// A counting semaphore that allocates nothing and takes no lock (eventfd(2) EFD_SEMAPHORE).
package struct Semaphore: ~Copyable, Sendable {
  private let descriptor: Descriptor

  package init() throws(Errno) {
    descriptor = Descriptor(owning: try check { vsocfs_semaphore() })
  }

  package func signal() {
    var one: UInt64 = 1
    _ = unsafe write(descriptor.raw, &one, 8)
  }

  package func wait() {
    var one: UInt64 = 0
    while unsafe read(descriptor.raw, &one, 8) < 0 && errno == EINTR {}
  }
}

/// A timerfd(2) on CLOCK_MONOTONIC.
package struct TimerDescriptor: ~Copyable, Sendable {
  package let descriptor: Descriptor

  package init() throws(Errno) {
    descriptor = Descriptor(owning: try check { vsocfs_timerfd_monotonic() })
  }

  /// Becomes readable at `instant`, at once if that is past; nil: never.
  package func set(_ instant: MonotonicInstant?) {
    // A zero time disarms the timer, so the instant 0 is told as 1 ns.
    let nanoseconds = instant.map { max($0.nanoseconds, 1) } ?? 0
    _ = vsocfs_timerfd_set(
      descriptor.raw, Int64(nanoseconds / 1_000_000_000), Int64(nanoseconds % 1_000_000_000))
  }

  /// Makes it unreadable until the next time that is set. Does not wait: a time that was set again since it
  /// was found readable is not there yet.
  package func clear() {
    var count: UInt64 = 0
    _ = unsafe read(descriptor.raw, &count, 8)
  }
}

/// A signalfd(2) for SIGTERM, SIGINT and SIGHUP, which must be blocked in every thread.
package struct ShutdownSignalDescriptor: ~Copyable, Sendable {
  package let descriptor: Descriptor

  package init() throws(Errno) {
    try check { vsocfs_block_shutdown_signals() }
    descriptor = Descriptor(owning: try check { vsocfs_signalfd_for_shutdown() })
  }

  package func clear() {
    // sizeof(struct signalfd_siginfo)
    unsafe withUnsafeTemporaryAllocation(byteCount: 128, alignment: 8) { buffer in
      _ = unsafe read(descriptor.raw, buffer.baseAddress, 128)
    }
  }
}

/// A time of CLOCK_MONOTONIC in nanoseconds.
package struct MonotonicInstant: Comparable, Hashable, Sendable {
  package var nanoseconds: UInt64

  package init(nanoseconds: UInt64) {
    self.nanoseconds = nanoseconds
  }

  /// Times too far away to be counted in nanoseconds (584 years) become the last one that can.
  package init(seconds: UInt64, nanoseconds: UInt32) {
    let (product, overflow1) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, overflow2) = product.addingReportingOverflow(UInt64(nanoseconds))
    self.nanoseconds = overflow1 || overflow2 ? UInt64(Int64.max) : min(sum, UInt64(Int64.max))
  }

  package static var now: MonotonicInstant {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return MonotonicInstant(seconds: UInt64(time.tv_sec), nanoseconds: UInt32(time.tv_nsec))
  }

  package static func < (left: Self, right: Self) -> Bool {
    left.nanoseconds < right.nanoseconds
  }
}
