// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A 32-bit word of a region, which others change at any time. As its window, it does not keep the
/// memory mapped. All operations are sequentially consistent.
@safe
public struct SharedWord: @unchecked Sendable {
  private let pointer: UnsafePointer<Atomic<UInt32>>

  init(_ pointer: UnsafePointer<Atomic<UInt32>>) {
    unsafe self.pointer = pointer
  }

  /// The value, read once.
  public func load() -> UInt32 {
    unsafe pointer.pointee.load(ordering: .sequentiallyConsistent)
  }

  public func store(_ value: UInt32) {
    unsafe pointer.pointee.store(value, ordering: .sequentiallyConsistent)
  }

  /// Puts `value` there and gives what was there.
  @discardableResult
  public func exchange(_ value: UInt32) -> UInt32 {
    unsafe pointer.pointee.exchange(value, ordering: .sequentiallyConsistent)
  }

  /// Puts `value` there if `expected` is there, and gives what was there in either case.
  public func compareExchange(expected: UInt32, _ value: UInt32) -> UInt32 {
    unsafe pointer.pointee.compareExchange(
      expected: expected, desired: value, ordering: .sequentiallyConsistent
    ).original
  }

  /// For futex(2).
  public var address: UnsafeRawPointer { unsafe UnsafeRawPointer(pointer) }
}
