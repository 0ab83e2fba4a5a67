// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// setrlimit(2).
package enum ResourceLimits {
  /// How many descriptors this process may have open.
  package static var descriptors: Int {
    var limit = rlimit()
    _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return Int(clamping: limit.rlim_cur)
  }

  /// Allows as many open descriptors as an unprivileged process may have.
  package static func raiseDescriptors() {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    growTable(to: min(Int(clamping: limit.rlim_cur), tableSize))
  }

  /// Descriptors for which there is room from the start.
  private static let tableSize = 65_536

  /// Makes the kernel's table of descriptors as large now as it may become. It grows by doubling, and with
  /// several threads each time waits for all processors (synchronize_rcu): 120 ms have been seen, in which no
  /// thread gets a descriptor.
  private static func growTable(to count: Int) {
    let highest = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, Int32(count - 1))
    if highest >= 0 { close(highest) }
  }
}
