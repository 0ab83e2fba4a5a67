// SPDX-License-Identifier: Apache-2.0

package import LinuxSystem
internal import SystemPackage
package import VsocProtocol

/// A read of a doorbell that waits for a ring.
package final class DoorbellRead: Waiter, @unchecked Sendable {
  package typealias Completion = @Sendable (Result<[UInt32], Abandonment>) -> Void

  let reader: DoorbellReader
  let capacity: Int
  let completion: Completion

  /// - Parameter capacity: at most so many offsets are delivered, at least one.
  package init(_ reader: DoorbellReader, capacity: Int, completion: @escaping Completion) {
    self.reader = reader
    self.capacity = capacity
    self.completion = completion
    super.init(region: reader.region, end: reader.end)
  }

  override func enter() throws(Errno) { try region.park(self) }
  override func abandon(_ reason: Abandonment) { completion(.failure(reason)) }
  override func leave(_ state: inout RegionState) {
    state[end].doorbellReads.removeAll { $0 === self }
  }
}

/// A write to a doorbell that waits for a free slot. It stands at the end that drains.
package final class DoorbellWrite: Waiter, @unchecked Sendable {
  /// The number of offsets posted, with the reason why not all.
  package typealias Completion = @Sendable (_ posted: Int, Abandonment?) -> Void

  let offsets: [UInt32]
  /// How many are posted; guarded by the region's lock until the waiter is claimed.
  var posted: Int
  let completion: Completion

  /// - Parameters:
  ///   - end: the sending end.
  ///   - posted: how many of `offsets` stand in the table already.
  package init(
    _ region: Region, from end: End, offsets: [UInt32], posted: Int,
    completion: @escaping Completion
  ) {
    self.offsets = offsets
    self.posted = posted
    self.completion = completion
    super.init(region: region, end: end.peer)
  }

  override var cost: Int { Self.cost(of: offsets.count) }

  /// For each offset that, and where its text ends.
  static func cost(of count: Int) -> Int { usualCost + 8 * count }

  override func enter() throws(Errno) { try region.park(self) }
  override func abandon(_ reason: Abandonment) { completion(posted, reason) }
  override func leave(_ state: inout RegionState) {
    state[end].blockedWrites.removeAll { $0 === self }
    if state[end].blockedWrites.isEmpty { state.stopWatching(end) }
  }
}

/// A read of a signal file that waits for a notification.
package final class SignalRead: Waiter, @unchecked Sendable {
  /// The count of notifications.
  package typealias Completion = @Sendable (Result<UInt64, Abandonment>) -> Void

  let reader: SignalReader
  let completion: Completion

  package init(_ reader: SignalReader, completion: @escaping Completion) {
    self.reader = reader
    self.completion = completion
    super.init(region: reader.region, end: reader.end)
  }

  override func enter() throws(Errno) { try region.park(self) }
  override func abandon(_ reason: Abandonment) { completion(.failure(reason)) }
  override func leave(_ state: inout RegionState) {
    state[end].signalReads.removeAll { $0 === self }
  }
}

/// A wait for the incoming `interrupt_signalled` word (ioctl 3).
package final class InterruptWait: Waiter, @unchecked Sendable {
  package typealias Completion = @Sendable (Abandonment?) -> Void

  let completion: Completion

  package init(_ region: Region, end: End, completion: @escaping Completion) {
    self.completion = completion
    super.init(region: region, end: end)
  }

  override func enter() throws(Errno) { try region.park(self) }
  override func abandon(_ reason: Abandonment) { completion(reason) }
  override func leave(_ state: inout RegionState) {
    state[end].interruptWaits.removeAll { $0 === self }
  }
}

/// A sleep while a word has a value (ioctl 7, COND_WAIT). Both ends' sleepers are one set.
package final class CondWait: Waiter, @unchecked Sendable {
  /// The count of wakeups, and why the wait ended if the word did not change.
  package typealias Completion = @Sendable (_ wakes: UInt32, Abandonment?) -> Void

  let offset: UInt32
  let value: UInt32
  package let deadline: MonotonicInstant?
  /// Guarded by the region's lock until the waiter is claimed.
  var wakes: UInt32
  let completion: Completion

  package init(
    _ region: Region, end: End, offset: UInt32, value: UInt32, deadline: MonotonicInstant?,
    wakes: UInt32, completion: @escaping Completion
  ) {
    self.offset = offset
    self.value = value
    self.deadline = deadline
    self.wakes = wakes
    self.completion = completion
    super.init(region: region, end: end)
  }

  override func enter() throws(Errno) { try region.park(self) }
  override func abandon(_ reason: Abandonment) { completion(wakes, reason) }
  override func leave(_ state: inout RegionState) { state.sleepers.remove(self) }
}
