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
  /// Waits until what was stored is in the file (msync(2)).
  package func synchronize() throws(Errno) {
    guard unsafe msync(base, size, MS_SYNC) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Maps a part of another file in place of what was mapped in `range`, or this file's own part again
  /// (mmap(2) MAP_FIXED): at no moment is nothing there.
  ///
  /// - Parameters:
  ///   - offset: in the file that `descriptor` is open for.
  ///   - isWritable: else a store there is a fault.
  package func map(
    _ descriptor: borrowing Descriptor, at offset: Int, over range: Range<Int>, isWritable: Bool
  ) throws(Errno) {
    let protection = isWritable ? PROT_READ | PROT_WRITE : PROT_READ
    let address = unsafe mmap(
      base + range.lowerBound, range.count, protection, MAP_SHARED | MAP_FIXED, descriptor.raw,
      off_t(offset))
    guard unsafe address != MAP_FAILED else { throw Errno(rawValue: errno) }
  }

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
