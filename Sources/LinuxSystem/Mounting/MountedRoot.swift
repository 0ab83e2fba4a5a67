// SPDX-License-Identifier: Apache-2.0

internal import CLinux
package import SystemPackage

/// The root directory of a mount of this process, as a place (O_PATH).
package struct MountedRoot: ~Copyable, Sendable {
  private let place: Descriptor

  /// - Parameters:
  ///   - device: the minor number of its device: somebody may have unmounted it, or put something else
  ///     in its place. ENODEV then.
  ///   - isHidden: by way of a copy of the mount, if this process may make one: what is in use there does
  ///     not keep the mount itself from being unmounted.
  package init(of mountPoint: String, device: Int32, isHidden: Bool) throws(Errno) {
    var raw = isHidden ? unsafe vsocfs_clone_mount(mountPoint) : -1
    if raw < 0 { raw = try check { unsafe vsocfs_open_place(mountPoint) } }
    let found = Descriptor(owning: raw)
    guard vsocfs_device_of(raw) == device else { throw .operationNotSupportedByDevice }
    place = found
  }

  /// A directory in it, as a place.
  package func openPlace(_ name: String) throws(Errno) -> Descriptor {
    let path = path(name)
    return Descriptor(owning: try check { unsafe vsocfs_open_place(path) })
  }

  /// An absolute path of something in it, as long as this lives.
  package func path(_ name: String) -> String { "/proc/self/fd/\(place.raw)/\(name)" }
}
