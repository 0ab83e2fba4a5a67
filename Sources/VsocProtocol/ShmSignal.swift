// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The shm_signal protocol on a region's `shm_signal_desc`: for each end a triple of
/// `enabled`, `pending` and `dirty` bytes (SPEC §11).
///
/// Injecting marks the remote end dirty, and asks for a notification only if that end is enabled
/// and has none pending. The notified end clears dirty until it stays clear, and only then pending:
/// until then the other side need not notify again.
///
/// Safe to use from any thread and any process at once; all accesses are sequentially consistent,
/// because each side stores one byte and then looks at another that the other side stores.
@safe
public struct ShmSignal: @unchecked Sendable {
  public static let magic: UInt32 = 0x58fa_39df
  public static let version: UInt32 = 1

  /// A peer that sets dirty as fast as it can does not keep an acknowledging reader for longer.
  public static let roundsPerAcknowledgement = 64

  private let irqs: UnsafePointer<Atomic<UInt8>>

  /// The window must be of the size for which the geometry was computed.
  public init(window: RegionWindow, geometry: RegionGeometry) {
    precondition(
      window.contains(geometry.shmSignalOffset, bytes: 16), "a window of another geometry")
    unsafe irqs = window.bytes(at: geometry.shmSignalOffset + 8)
  }

  private func irq(_ end: End, _ field: Int) -> UnsafePointer<Atomic<UInt8>> {
    unsafe irqs + Int(end.rawValue) * 3 + field
  }
  private func enabled(_ end: End) -> UnsafePointer<Atomic<UInt8>> { unsafe irq(end, 0) }
  private func pending(_ end: End) -> UnsafePointer<Atomic<UInt8>> { unsafe irq(end, 1) }
  private func dirty(_ end: End) -> UnsafePointer<Atomic<UInt8>> { unsafe irq(end, 2) }

  /// Marks `end` dirty. True if it must be notified: it is enabled and had nothing pending.
  public func inject(to end: End) -> Bool {
    unsafe dirty(end).pointee.store(1, ordering: .sequentiallyConsistent)
    guard isEnabled(end), !isPending(end) else { return false }
    return unsafe pending(end).pointee.exchange(1, ordering: .sequentiallyConsistent) == 0
  }

  /// Unmasks `end`. True if it must be notified of what came while it was masked.
  public func enable(_ end: End) -> Bool {
    unsafe enabled(end).pointee.store(1, ordering: .sequentiallyConsistent)
    return isDirty(end) || isPending(end)
  }

  /// Masks `end`: nothing is due there until it is enabled again.
  public func disable(_ end: End) {
    unsafe enabled(end).pointee.store(0, ordering: .sequentiallyConsistent)
  }

  public func isEnabled(_ end: End) -> Bool {
    unsafe enabled(end).pointee.load(ordering: .sequentiallyConsistent) != 0
  }
  public func isPending(_ end: End) -> Bool {
    unsafe pending(end).pointee.load(ordering: .sequentiallyConsistent) != 0
  }
  public func isDirty(_ end: End) -> Bool {
    unsafe dirty(end).pointee.load(ordering: .sequentiallyConsistent) != 0
  }

  /// Whether a notification is due at `end`.
  public func isDue(_ end: End) -> Bool {
    isEnabled(end) && (isDirty(end) || isPending(end))
  }

  /// Acknowledges what is due at `end`, as the protocol's wakeup does.
  ///
  /// - Returns: the number of notifications taken in; 0 if none was due. After `limit` of them the
  ///   end is left as due as it is.
  public func acknowledge(_ end: End, limit: Int = roundsPerAcknowledgement) -> Int {
    var rounds = 0
    while isDue(end) {
      repeat {
        if rounds == limit { return rounds }
        unsafe dirty(end).pointee.store(0, ordering: .sequentiallyConsistent)
        rounds += 1
      } while isDirty(end)
      unsafe pending(end).pointee.store(0, ordering: .sequentiallyConsistent)
    }
    return rounds
  }
}
