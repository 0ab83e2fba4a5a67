// SPDX-License-Identifier: Apache-2.0

/// Round-trip offsets that an end owes its peer while the peer's table is full.
struct OwedPostBacks {
  private static let limit = 65_536

  private(set) var offsets: Set<UInt32> = []
  private let allowance: KeptOffsets?
  private var granted: Int

  init(allowance: KeptOffsets?) {
    self.allowance = allowance
    granted = allowance == nil ? Self.limit : KeptOffsets.free
  }

  var isEmpty: Bool { offsets.isEmpty }

  /// False if no more can be kept: then it is lost.
  mutating func insert(_ offset: UInt32) -> Bool {
    if offsets.count >= granted, !offsets.contains(offset) {
      guard granted < Self.limit, let allowance, allowance.take() else { return false }
      granted += KeptOffsets.portion
    }
    offsets.insert(offset)
    return true
  }

  mutating func remove(_ offset: UInt32) {
    offsets.remove(offset)
    if offsets.isEmpty { removeAll() }
  }

  mutating func removeAll() {
    offsets = []
    guard let allowance else { return }
    allowance.giveBack(after: granted)
    granted = KeptOffsets.free
  }
}
