// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// What root may do, a thread at a time (capabilities(7)).
package struct Capabilities: OptionSet, Hashable, Sendable {
  package let rawValue: UInt64

  package init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  private init(_ number: vsocfs_capability) {
    rawValue = 1 << UInt64(number.rawValue)
  }

  package static let dacOverride = Capabilities(VSOCFS_CAP_DAC_OVERRIDE)
  package static let ipcLock = Capabilities(VSOCFS_CAP_IPC_LOCK)
  package static let sysPtrace = Capabilities(VSOCFS_CAP_SYS_PTRACE)
  package static let sysAdmin = Capabilities(VSOCFS_CAP_SYS_ADMIN)

  /// Those that the calling thread can use.
  package static var current: Capabilities { Capabilities(rawValue: vsocfs_capabilities()) }

  /// Gives up all others for good, also for programs that are run. It is the calling thread's, and
  /// those' that it starts from now on.
  ///
  /// - Throws: EBUSY: there are other threads already.
  package static func keepOnly(_ kept: Capabilities) throws(Errno) {
    guard isOnlyThread else { throw .resourceBusy }
    try check { vsocfs_keep_capabilities(kept.rawValue) }
  }

  /// No program that is run gets more rights than this process, setuid or not (prctl(2)
  /// PR_SET_NO_NEW_PRIVS).
  package static func refuseNewPrivileges() throws(Errno) {
    try check { vsocfs_refuse_new_privileges() }
  }

  private static var isOnlyThread: Bool {
    guard let tasks = try? Directory(path: "/proc/self/task") else { return true }
    return ((try? tasks.names()) ?? []).count <= 1
  }
}
