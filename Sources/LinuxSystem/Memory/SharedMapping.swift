// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import Synchronization
package import SystemPackage

/// Owns a shared, writable mapping of a file and unmaps it (mmap(2) MAP_SHARED).
///
/// Others write to the memory at any time: everything read from it is read once, with an atomic
/// operation or as a copy, and checked before use. They may even take pages of the file away for which
/// there is no room then; such a page reads as zeros from then on, and the mapping is broken.
@safe
package final class SharedMapping: @unchecked Sendable {
  package let base: UnsafeMutableRawPointer
  package let size: Int
  /// What it was mapped by, if that is kept.
  private let kept: Descriptor?
  private let watch: MappingWatch
  /// Called when it is unmapped; to be set before others see it.
  package var afterUnmap: (@Sendable () -> Void)?

  package convenience init(descriptor: Int32, size: Int) throws(Errno) {
    try self.init(descriptor, kept: nil, size)
  }

  /// Keeps the descriptor, by which it can be synchronized.
  package convenience init(keeping descriptor: consuming Descriptor, size: Int) throws(Errno) {
    let raw = descriptor.raw
    try self.init(raw, kept: descriptor, size)
  }

  private init(_ raw: Int32, kept: consuming Descriptor?, _ size: Int) throws(Errno) {
    let address = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, raw, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    do throws(Errno) {
      unsafe watch = try MappingWatch(address, size)
    } catch {
      _ = unsafe munmap(address, size)
      throw error
    }
    self.kept = kept
    unsafe self.base = unsafe address
    self.size = size
  }

  deinit {
    watch.end()
    _ = unsafe munmap(base, size)
    afterUnmap?()
  }

  /// Whether a page of the file could not be had when it was touched.
  package var isBroken: Bool { watch.isBroken }
}

/// A part of a mapping that breaks by itself, and not with the rest.
package final class MappedPart: Sendable {
  private let mapping: SharedMapping
  private let watch: MappingWatch

  package init(of mapping: SharedMapping, _ range: Range<Int>) throws(Errno) {
    self.mapping = mapping
    unsafe watch = try MappingWatch(mapping.base + range.lowerBound, range.count)
  }

  deinit { watch.end() }

  package var isBroken: Bool { watch.isBroken }
}

/// What the handler of SIGBUS knows of a mapping, or of a part of one.
@safe
private struct MappingWatch: @unchecked Sendable {
  private let watched: OpaquePointer
  private let brokenness: UnsafePointer<Atomic<UInt32>>

  init(_ base: UnsafeMutableRawPointer, _ size: Int) throws(Errno) {
    guard let watched = unsafe vsocfs_watch_mapping(base, size) else { throw .noMemory }
    unsafe self.watched = unsafe watched
    unsafe brokenness = unsafe UnsafeRawPointer(vsocfs_mapping_is_broken(watched))
      .assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// To be called before it is unmapped.
  func end() { unsafe vsocfs_unwatch_mapping(watched) }

  var isBroken: Bool { unsafe brokenness.pointee.load(ordering: .relaxed) != 0 }
}

extension SharedMapping {
  /// Waits until what was stored has been written to the file, if the descriptor is kept. Takes no lock
  /// of the file, for which somebody could make it wait (`Descriptor.writeBack`).
  package func writeBack() throws(Errno) {
    try kept?.writeBack()
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

extension Descriptor {
  /// Whether a mapping of the file has a page at `offset`. What fstat(2) says does not tell: where a
  /// file system is asked for the size, the kernel shows the answer, but need not go by it.
  ///
  /// Needs madvise(2) MADV_POPULATE_READ, Linux 5.14: to touch the page would be a SIGBUS.
  package func hasPage(at offset: UInt64) throws(Errno) -> Bool {
    let page = 4096
    let start = off_t(offset) / off_t(page) * off_t(page)
    let address = unsafe mmap(nil, page, PROT_READ, MAP_SHARED, raw, start)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    defer { _ = unsafe munmap(address, page) }
    if unsafe madvise(address, page, Int32(VSOCFS_MADV_POPULATE_READ)) == 0 { return true }
    guard errno == EFAULT else { throw Errno(rawValue: errno) }
    return false
  }

  /// Waits until everything that was stored to the file has been written (sync_file_range(2)). Takes no
  /// lock of the file, unlike fsync(2) and msync(2) in some file systems, FUSE among them: a write(2)
  /// whose bytes do not come holds it for as long as its caller likes.
  package func writeBack() throws(Errno) {
    try check { vsocfs_write_back(raw) }
  }
}
