// SPDX-License-Identifier: Apache-2.0

/// What an end's doorbell has brought, for any number of readers: each sees every offset that came
/// after the one it read last, an offset that came several times only once.
///
/// Memory is bounded by the number of distinct offsets, and that by `limit` and by what the region's maker may
/// have kept in all; a reader costs no more than its position. A reader that falls behind by more is told so,
/// and goes on from there.
struct DrainLog {
  /// A ring that brought no offset; no futex is posted at offset 0.
  static let bareRing: UInt32 = 0
  /// Tells a reader that older offsets were dropped: no offset, as it is misaligned.
  static let overflow: UInt32 = .max

  private let limit: Int
  /// What is kept beyond the first few.
  private let allowance: KeptOffsets?
  /// So many offsets may be kept at the moment.
  private var granted: Int
  private var entries: [(sequence: UInt64, offset: UInt32)] = []
  /// The newest entry of each offset; older ones of it are stale.
  private var newest: [UInt32: UInt64] = [:]
  /// The sequence number of the last entry ever made.
  private(set) var last: UInt64 = 0
  /// Entries up to this one were dropped for the limit.
  private var droppedThrough: UInt64 = 0

  init(limit: Int = 65_536, allowance: KeptOffsets? = nil) {
    self.limit = limit
    self.allowance = allowance
    granted = allowance == nil ? limit : min(KeptOffsets.free, limit)
  }

  /// The number of entries held, stale ones included.
  var count: Int { entries.count }

  /// Adds an offset. `readers` are asked for their positions when old entries must go.
  mutating func append(_ offset: UInt32, readers: () -> UInt64) {
    last += 1
    entries.append((last, offset))
    newest[offset] = last
    if newest.count > granted { extend() }
    if entries.count > 2 * newest.count + 16 || newest.count > granted {
      compact(readBy: readers())
    }
  }

  private mutating func extend() {
    guard let allowance, granted < limit, allowance.take() else { return }
    granted = min(granted + KeptOffsets.portion, limit)
  }

  /// Gives back what it was granted beyond the first few.
  private mutating func endGrants() {
    guard let allowance else { return }
    allowance.giveBack(after: granted)
    granted = min(KeptOffsets.free, limit)
  }

  /// Drops everything, when all readers have read it.
  mutating func removeAll() {
    entries.removeAll(keepingCapacity: entries.capacity <= 4096)
    newest.removeAll(keepingCapacity: newest.capacity <= 4096)
    endGrants()
  }

  /// The offsets after `position`, at most `capacity`; moves the position past them.
  func read(from position: inout UInt64, capacity: Int) -> [UInt32] {
    var offsets: [UInt32] = []
    if position < droppedThrough {
      offsets.append(Self.overflow)
      position = droppedThrough
    }
    for entry in entries[firstIndex(after: position)...] {
      if offsets.count == capacity { return offsets }
      if newest[entry.offset] == entry.sequence { offsets.append(entry.offset) }
      position = entry.sequence
    }
    position = last
    return offsets
  }

  /// Whether `read` would return something.
  func hasEntries(after position: UInt64) -> Bool {
    position < last
  }

  private func firstIndex(after position: UInt64) -> Int {
    var (low, high) = (0, entries.count)
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].sequence <= position { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Drops stale entries, those that everybody has read, and if need be the older half.
  private mutating func compact(readBy position: UInt64) {
    entries.removeAll { $0.sequence <= position || newest[$0.offset] != $0.sequence }
    if entries.count > granted {
      let excess = entries.count - granted / 2
      droppedThrough = entries[excess - 1].sequence
      entries.removeFirst(excess)
    }
    newest.removeAll(keepingCapacity: true)
    for entry in entries { newest[entry.offset] = entry.sequence }
  }
}
