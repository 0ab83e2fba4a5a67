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
  }
}
