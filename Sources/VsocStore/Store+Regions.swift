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

  package func makeArea(isBacking: Bool) throws(Errno) -> RegionFile {
    throw .notSupported
  }

  package func record(_ record: PermissionRecord) throws(Errno) -> PermissionSlot? {
    throw .notSupported
  }

  package func markFilled(_ slot: PermissionSlot) throws(Errno) {
    throw .notSupported
  }

  package func forget(_ slot: PermissionSlot) throws(Errno) {}
}
