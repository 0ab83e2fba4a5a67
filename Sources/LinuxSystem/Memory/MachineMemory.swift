// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The memory of this machine (sysconf(3)).
package enum MachineMemory {
  /// In whole pages.
  package static var bytes: UInt64 { pages * pageSize }

  /// Half of it, in whole pages.
  package static var half: UInt64 { pages / 2 * pageSize }

  private static var pages: UInt64 { UInt64(max(sysconf(Int32(_SC_PHYS_PAGES)), 0)) }
  private static var pageSize: UInt64 { UInt64(max(sysconf(Int32(_SC_PAGESIZE)), 0)) }
}
