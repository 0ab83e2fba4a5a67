// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// One direction of the vsoc signal protocol: a table of posted offsets and the
/// `interrupt_signalled` word (SPEC §11).
///
/// A sender changes a futex word, posts its offset, exchanges 1 into `interrupt_signalled`, and
/// rings if that was 0. A receiver exchanges 0 into `interrupt_signalled` first, then takes what
/// the slots hold, wakes the sleepers at each offset, and looks at the word again.
///
/// Safe to use from any thread and any process at once. Every operation that orders a store before
/// a load of the other side is a sequentially consistent read-modify-write; a plain store and load
/// would lose wakeups on x86 as elsewhere.
@safe
public struct SignalTable: @unchecked Sendable {
  /// What became of an offset.
  public enum Posting: Hashable, Sendable {
    case posted
    /// It stood in the table already, put there by a sender that may still be about to ring.
    case alreadyPosted
    /// No slot is free until the receiver drains.
    case full
  }

  /// Set in a posted offset: the receiver, having woken its side, posts the offset back.
  public static let roundTripFlag: UInt32 = 1

  /// A slot that a hostile peer changes faster than it can be taken is given up for the next.
  private static let attemptsPerSlot = 8
  /// The word is looked at again after a scan; a peer that keeps setting it does not keep us.
  private static let passesPerDrain = 4

  private let slots: UnsafePointer<Atomic<UInt32>>
  private let mask: Int
  private let word: UnsafePointer<Atomic<UInt32>>

  /// The table must lie inside the window, as it does if the window is of the size for which the
  /// geometry was computed.
  public init(window: RegionWindow, geometry: TableGeometry) {
    precondition(
      window.contains(geometry.tableOffset, bytes: 4 * UInt64(geometry.slotCount))
        && window.contains(geometry.wordOffset, bytes: 4), "a window of another geometry")
    unsafe slots = window.words(at: geometry.tableOffset)
    mask = geometry.slotCount - 1
    unsafe word = window.words(at: geometry.wordOffset)
  }

  /// Puts an offset into the table, once: probes from the slot that the offset hashes to.
  ///
  /// - Parameter value: a valid, non-zero offset, with or without `roundTripFlag`.
  public func post(_ value: UInt32) -> Posting {
    let offset = value & ~Self.roundTripFlag
    var index = Int(offset >> 2) & mask
    for _ in 0...mask {
      let slot = unsafe slots + index
      // In order after whatever the caller did before (announce itself as a waiter, say): a slot
      // that is found taken here is emptied later, by a drain that sees the announcement.
      var current = unsafe slot.pointee.load(ordering: .sequentiallyConsistent)
      for _ in 0..<Self.attemptsPerSlot {
        guard current == 0 || current & ~Self.roundTripFlag == offset else { break }
        // Also where the offset stands there already: the exchange orders the sender's store to
        // its futex word before this look at the slot, so that the receiver who takes it sees it.
        let (exchanged, original) = unsafe slot.pointee.compareExchange(
          expected: current, desired: current | value, ordering: .sequentiallyConsistent)
        if exchanged { return current == 0 ? .posted : .alreadyPosted }
        current = original
      }
      index = (index + 1) & mask
    }
    return .full
  }

  /// Says that an interrupt is in flight. True if none was: then the caller must ring.
  public func raiseInterrupt() -> Bool {
    unsafe word.pointee.exchange(1, ordering: .sequentiallyConsistent) == 0
  }

  /// Whether an interrupt is in flight.
  public var isInterruptRaised: Bool {
    unsafe word.pointee.load(ordering: .sequentiallyConsistent) != 0
  }

  /// Whether no slot holds an offset.
  public var isEmpty: Bool {
    for index in 0...mask where unsafe slots[index].load(ordering: .sequentiallyConsistent) != 0 {
      return false
    }
    return true
  }

  /// How many slots hold an offset.
  public var postedCount: Int {
    (0...mask).count { unsafe slots[$0].load(ordering: .sequentiallyConsistent) != 0 }
  }

  /// An offset that is posted, unchecked and without its flag; nil if the table is empty.
  public var firstPosted: UInt32? {
    for index in 0...mask {
      let value = unsafe slots[index].load(ordering: .sequentiallyConsistent)
      if value != 0 { return value & ~Self.roundTripFlag }
    }
    return nil
  }

  /// Whether all of the offsets could be posted now, those that stand in the table included.
  public func hasRoom(for values: [UInt32]) -> Bool {
    var missing = Set(values.map { $0 & ~Self.roundTripFlag })
    var free = 0
    for index in 0...mask {
      let value = unsafe slots[index].load(ordering: .sequentiallyConsistent)
      if value == 0 { free += 1 } else { missing.remove(value & ~Self.roundTripFlag) }
    }
    return missing.count <= free
  }

  /// Takes everything in, as the receiver: `body` gets each posted value, unchecked, with its flag.
  ///
  /// Scans again while the word is raised anew, but not for ever. What then stays behind is in the
  /// hands of the sender that raised the word last: it found 0 there, so that it rings.
  ///
  /// - Returns: whether an interrupt was in flight.
  public func drain(_ body: (UInt32) -> Void) -> Bool {
    var wasRaised = false
    for _ in 0..<Self.passesPerDrain {
      if unsafe word.pointee.exchange(0, ordering: .sequentiallyConsistent) != 0 {
        wasRaised = true
      }
      for index in 0...mask {
        // A load is enough to pass over an empty slot: whoever fills it later finds the word 0.
        guard unsafe slots[index].load(ordering: .sequentiallyConsistent) != 0 else { continue }
        let value = unsafe slots[index].exchange(0, ordering: .sequentiallyConsistent)
        if value != 0 { body(value) }
      }
      if !isInterruptRaised { break }
    }
    return wasRaised
  }
}
