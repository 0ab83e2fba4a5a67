// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// What a region is, and whether it is in use. Guarded by a lock of its own, inside which nothing is
/// waited for: names and attributes are told even while a thread that touches the memory waits for
/// a page of it, and what it waits for may be just such an answer.
struct RegionLife {
  var configuration: RegionConfiguration
  /// Opened when it is first needed.
  var file: RegionFile?
  /// Open handles and other users; the region cannot be destroyed while there are any.
  var users = 0
  /// Mappings that there are, or that are being made or undone. Counted up under the lock only.
  let mappings = MappingCount()
  /// Whether the size is fixed, because somebody may have mapped or written the memory.
  var isSealed = false
  var isDestroyed = false
}

/// A count that a mapping keeps, which may outlast the region.
final class MappingCount: Sendable {
  private let count = Atomic(0)

  var isZero: Bool { value == 0 }
  var value: Int { count.load(ordering: .acquiring) }

  func begin() { count.wrappingAdd(1, ordering: .relaxed) }
  func end() { count.wrappingSubtract(1, ordering: .releasing) }
}
