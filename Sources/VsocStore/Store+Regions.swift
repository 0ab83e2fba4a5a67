// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocEngine
package import VsocProtocol

/// The store as the engine uses it.
extension Store: RegionFiles {
  package func open(_ header: RegionHeader) throws(Errno) -> RegionFile {
    RegionFile(try open(header.name), kind: .stored)
  }

  package func resize(_ file: RegionFile?, to header: RegionHeader) throws(Errno) {
    try resize(to: header)
  }

  package func record(_ record: PermissionRecord) throws(Errno) -> PermissionSlot? {
    try permissions.record(record)
  }

  package func markFilled(_ slot: PermissionSlot) throws(Errno) {
    try permissions.markFilled(slot)
  }

  package func forget(_ slot: PermissionSlot) throws(Errno) {
    try permissions.forget(slot)
  }
}
