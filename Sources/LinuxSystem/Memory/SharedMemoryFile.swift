// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// A memfd: memory with a descriptor (memfd_create(2)).
package struct SharedMemoryFile: ~Copyable, Sendable {
  package let descriptor: Descriptor

  /// Makes an empty one of `size` bytes; `name` shows in /proc/PID/maps.
  package init(name: String, size: Int) throws(Errno) {
    let fd = try check { unsafe vsocfs_memfd_create(name) }
    let descriptor = Descriptor(owning: fd)
    guard ftruncate(fd, off_t(size)) == 0 else { throw Errno(rawValue: errno) }
    self.descriptor = descriptor
  }

  /// Fixes the size of such a file for good. From then on nobody who gets the descriptor can make
  /// an access of ours to it a SIGBUS.
  package static func sealSize(of descriptor: Int32) throws(Errno) {
    try check { vsocfs_memfd_seal_size(descriptor) }
  }

  /// Gives the descriptor to somebody who needs nothing else of it.
  package consuming func takeDescriptor() -> Descriptor {
    descriptor
  }
}
