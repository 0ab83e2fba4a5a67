// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A region's memory as this process maps it. It does not own the mapping: whoever makes a window
/// keeps the mapping alive for as long as the window is used.
///
/// The memory belongs to clients as much as to us. Every word is read once, atomically, and the
/// value is checked before it is used.
@safe
public struct RegionWindow: @unchecked Sendable {
  public let base: UnsafeMutableRawPointer
  /// Bytes that may be accessed.
  public let size: UInt32

  /// - Parameter base: aligned to words at least; mappings are aligned to pages.
  public init(base: UnsafeMutableRawPointer, size: UInt32) {
    precondition(UInt(bitPattern: base) % 4 == 0, "atomic words must be aligned")
    unsafe self.base = base
    self.size = size
  }

  /// The 32-bit word at `offset`, which must be aligned and inside the region.
  public func word(at offset: UInt32) throws(OffsetError) -> SharedWord {
    try check(offset)
    return unsafe SharedWord(words(at: offset))
  }

  /// Refuses an offset that is no word of this region.
  public func check(_ offset: UInt32) throws(OffsetError) {
    guard offset % 4 == 0 else { throw .misaligned }
    guard UInt64(offset) + 4 <= UInt64(size) else { throw .outOfRange }
  }

  /// Whether that many bytes from `offset` on are inside the region.
  func contains(_ offset: UInt32, bytes: UInt64) -> Bool {
    UInt64(offset) + bytes <= UInt64(size)
  }

  /// The words of a place that `RegionGeometry` computed for this region.
  func words(at offset: UInt32) -> UnsafePointer<Atomic<UInt32>> {
    unsafe UnsafePointer((base + Int(offset)).assumingMemoryBound(to: Atomic<UInt32>.self))
  }

  func bytes(at offset: UInt32) -> UnsafePointer<Atomic<UInt8>> {
    unsafe UnsafePointer((base + Int(offset)).assumingMemoryBound(to: Atomic<UInt8>.self))
  }
}

/// Why an offset is refused.
public enum OffsetError: Error, Hashable, Sendable {
  /// Not a multiple of 4 (EADDRNOTAVAIL).
  case misaligned
  /// The word is not inside the region (E2BIG).
  case outOfRange
}
