// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// Owns a shared, writable mapping of a file and unmaps it (mmap(2) MAP_SHARED).
///
/// Others write to the memory at any time: everything read from it is read once, with an atomic
/// operation or as a copy, and checked before use.
@safe
package final class SharedMapping: @unchecked Sendable {
  package let base: UnsafeMutableRawPointer
  package let size: Int
  /// Called when it is unmapped; to be set before others see it.
  package var afterUnmap: (@Sendable () -> Void)?

  package init(descriptor: Int32, size: Int) throws(Errno) {
    let address = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    unsafe self.base = unsafe address
    self.size = size
  }

  deinit {
    _ = unsafe munmap(base, size)
    afterUnmap?()
  }
}

extension SharedMapping {
  /// Makes the first `count` bytes present and writable now, rather than at the first access
  /// (madvise(2) MADV_POPULATE_WRITE, Linux 5.14), and keeps them in memory as far as the limit for
  /// that allows.
  package func populate(_ count: Int) throws(Errno) {
    if unsafe madvise(base, count, Int32(VSOCFS_MADV_POPULATE_WRITE)) != 0 {
      // An older kernel does not know it; for any other reason the pages cannot be had.
      guard errno == EINVAL else { throw Errno(rawValue: errno) }
      for offset in stride(from: 0, to: count, by: 4096) { unsafe vsocfs_touch(base + offset) }
    }
    _ = unsafe mlock(base, count)
  }
}
