// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocProtocol

/// How an attempt to post ended.
package enum PostOutcome: Hashable, Sendable {
  case posted
  /// The table is full after so many of the offsets.
  case full(posted: Int)
  /// There are more distinct offsets than the table has slots, so it can never hold them at once.
  case exceedsTable
}

/// Doorbells: the vsoc signal tables and the interrupts that go with them (SPEC §5, §6).
extension Region {
  // MARK: Readers

  /// Opens a doorbell for reading: the handle sees every offset drained from now on.
  package func openDoorbell(
    _ end: End, observer: (any ReadinessObserver)? = nil
  ) -> DoorbellReader {
    let reader = DoorbellReader(region: self, end: end, observer: observer)
    state.withLock { state in
      reader.position = state[end].log.last
      state[end].doorbellReaders.append(reader)
    }
    return reader
  }

  package func close(_ reader: DoorbellReader) {
    state.withLock { $0.close(reader) }
    parking.abandonAll(.gone) { ($0 as? DoorbellRead)?.reader === reader }
  }

  /// Takes in what has arrived and gives what the handle has not seen, oldest first; nothing if
  /// there is none. See `DrainLog` for the values 0 and 0xffffffff.
  package func read(_ reader: DoorbellReader, capacity: Int) throws(Errno) -> [UInt32] {
    try updateMemory { state, memory, wakes in
      state.readDoorbell(reader, capacity: capacity, memory, &wakes)
    }
  }

  /// Waits until there is something to read.
  func park(_ read: DoorbellRead) throws(Errno) {
    try updateMemory { state, memory, wakes in
      if !read.isClaimed { state.enter(read, memory, &wakes) }
    }
  }

  /// Whether a read would give something, and whether the outgoing word is 0, so that a post
  /// would ring.
  package func readiness(
    of reader: DoorbellReader, watchingWritability: Bool
  ) throws(Errno) -> (readable: Bool, writable: Bool) {
    try updateMemory { state, memory, _ in
      reader.isPolled = true
      if watchingWritability { reader.watchesWritability = true }
      return (
        state.isReadable(reader, memory), !memory.outgoing(of: reader.end).isInterruptRaised
      )
    }
  }

  // MARK: Ringing

  /// Refuses offsets that are no words of the region; 0 is no offset that can be
  /// posted, and the round-trip flag is for those who post through the mapping.
  package func check(_ offsets: [UInt32]) throws(OffsetError) {
    let size = configuration.geometry.size
    for offset in offsets {
      guard offset % 4 == 0, offset != 0 else { throw .misaligned }
      guard UInt64(offset) + 4 <= UInt64(size) else { throw .outOfRange }
    }
  }

  /// Posts checked offsets in the outgoing table of `end` and interrupts the peer if no interrupt
  /// is in flight. What was posted stays posted if the table is full.
  package func post(
    _ offsets: [UInt32], from end: End, allOrNothing: Bool = false
  ) throws(Errno) -> PostOutcome {
    try updateMemory { state, memory, wakes in
      if allOrNothing {
        if state.exceedsTable(offsets, from: end, memory) { return .exceedsTable }
        guard memory.outgoing(of: end).hasRoom(for: offsets) else {
          state.ringForFullTable(end.peer, memory, &wakes)
          return .full(posted: 0)
        }
      }
      var posted = 0
      state.post(offsets, posted: &posted, from: end, memory, &wakes)
      return posted == offsets.count ? .posted : .full(posted: posted)
    }
  }

  /// Waits for room for the rest of the offsets.
  func park(_ write: DoorbellWrite) throws(Errno) {
    try updateMemory { state, memory, wakes in
      guard !write.isClaimed else { return }
      var posted = write.posted
      // Behind those who wait already, so that nobody is overtaken for ever.
      if state[write.end].blockedWrites.isEmpty {
        state.post(write.offsets, posted: &posted, from: write.end.peer, memory, &wakes)
        write.posted = posted
      }
      if posted == write.offsets.count {
        if write.claim() { wakes.blockedWrites.append(write) }
      } else {
        state[write.end].blockedWrites.append(write)
        state[write.end].fruitlessWatches = 0
        state.watchForDrain(of: write.end, memory, self.watcher, self, &wakes)
      }
    }
  }

  /// Rings at the peer of `end`, whether or not an interrupt is in flight (ioctl 6).
  package func sendInterrupt(from end: End) throws(Errno) {
    try updateMemory { state, memory, wakes in
      wakes.rings += 1
      state.ring(end.peer, isBare: true, memory, &wakes)
    }
  }

  /// Says that an interrupt is in flight, and rings if none was (ioctl 2). False if one was.
  package func maybeSendInterrupt(from end: End) throws(Errno) -> Bool {
    try updateMemory { state, memory, wakes in
      guard memory.outgoing(of: end).raiseInterrupt() else { return false }
      wakes.rings += 1
      state.ring(end.peer, isBare: false, memory, &wakes)
      return true
    }
  }

  /// Sets the incoming word of `end` and wakes those who wait there (ioctl 5).
  package func selfInterrupt(_ end: End) throws(Errno) {
    try updateMemory { state, memory, wakes in
      _ = memory.incoming(of: end).raiseInterrupt()
      wakes.rings += 1
      state.ring(end, isBare: false, memory, &wakes)
    }
  }

  /// Whether the incoming word of `end` is set (ioctl 3, its first look). As any call of an end
  /// that receives, it is a hint that the table may have been drained through the mapping.
  package func isInterruptRaised(at end: End) throws(Errno) -> Bool {
    try updateMemory { state, memory, wakes in
      state.resumeBlockedSenders(to: end, memory, &wakes)
      return memory.incoming(of: end).isInterruptRaised
    }
  }

  /// Waits until the incoming word is set.
  func park(_ wait: InterruptWait) throws(Errno) {
    try updateMemory { state, memory, wakes in
      guard !wait.isClaimed else { return }
      if memory.incoming(of: wait.end).isInterruptRaised {
        if wait.claim() { wakes.interruptWaits.append(wait) }
      } else {
        state[wait.end].interruptWaits.append(wait)
      }
    }
  }
}
