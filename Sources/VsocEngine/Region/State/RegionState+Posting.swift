// SPDX-License-Identifier: Apache-2.0

internal import VsocProtocol

/// The sending side of a doorbell. Under the region's lock.
extension RegionState {
  private static let fruitlessWatchLimit = 64

  /// Posts offsets from `posted` on until the table is full, and rings if no interrupt is in
  /// flight.
  mutating func post(
    _ offsets: [UInt32], posted: inout Int, from end: End, _ memory: RegionMemory,
    _ wakes: inout Wakes
  ) {
    let outgoing = memory.outgoing(of: end)
    let before = posted
    while posted < offsets.count, outgoing.post(offsets[posted]) != .full { posted += 1 }
    wakes.posts += posted - before
    // A full table is rung for, even if nothing was added: who filled it may have died since.
    if outgoing.raiseInterrupt() || posted < offsets.count {
      ring(end.peer, isBare: false, memory, &wakes)
    }
  }

  /// A sender found the table of `end` full: whoever drains it is told, in case the one who filled
  /// it died before he rang.
  mutating func ringForFullTable(_ end: End, _ memory: RegionMemory, _ wakes: inout Wakes) {
    _ = memory.incoming(of: end).raiseInterrupt()
    ring(end, isBare: false, memory, &wakes)
  }

  /// Whether a sender of `offsets` has more of them than the table can ever hold at once.
  func exceedsTable(_ offsets: [UInt32], from end: End, _ memory: RegionMemory) -> Bool {
    let slots = memory.geometry.outgoing(of: end).slotCount
    guard offsets.count > slots else { return false }
    return Set(offsets.map { $0 & ~SignalTable.roundTripFlag }).count > slots
  }

  /// Room has come: those who wait for it go on, in their order.
  mutating func resumeBlockedSenders(to end: End, _ memory: RegionMemory, _ wakes: inout Wakes) {
    guard !self[end].blockedWrites.isEmpty || !self[end.peer].owedPostBacks.isEmpty else { return }
    let table = memory.incoming(of: end)
    var isFull = false
    var hasPosted = false

    for offset in self[end.peer].owedPostBacks.offsets {
      if table.post(offset) == .full {
        isFull = true
        break
      }
      hasPosted = true
      self[end.peer].owedPostBacks.remove(offset)
    }
    while !isFull, let write = self[end].blockedWrites.first {
      while write.posted < write.offsets.count, !write.isClaimed {
        if table.post(write.offsets[write.posted]) == .full {
          isFull = true
          break
        }
        write.posted += 1
        wakes.posts += 1
        hasPosted = true
      }
      if !isFull {
        self[end].blockedWrites.removeFirst()
        if write.claim() { wakes.blockedWrites.append(write) }
      }
    }
    if self[end].blockedWrites.isEmpty { stopWatching(end) }
    guard hasPosted else { return }
    if table.raiseInterrupt() { wakes.refilledEnds.append(end) }
  }

  /// A receiver at `end` has woken its side of `offset` and tells the sender so.
  mutating func postBack(
    _ offset: UInt32, from end: End, _ memory: RegionMemory, _ wakes: inout Wakes
  ) {
    let outgoing = memory.outgoing(of: end)
    if outgoing.post(offset) == .full {
      if !self[end].owedPostBacks.insert(offset) { wakes.lostPostBacks += 1 }
    }
    if outgoing.raiseInterrupt() { wakes.refilledEnds.append(end.peer) }
  }

  /// Rings for what drains have posted, which may make others drain in turn.
  ///
  /// Each turn needs a blocked sender's offset or a round-trip flag that was posted anew, so it
  /// ends; a peer that keeps posting those gets no more turns than `limit` from one event, and the
  /// rest stays in the tables, where the next ring or read finds it.
  mutating func settle(_ memory: RegionMemory, _ wakes: inout Wakes, limit: Int = 256) {
    for _ in 0..<limit {
      guard let end = wakes.refilledEnds.popLast() else { return }
      ring(end, isBare: false, memory, &wakes)
    }
    // Nobody is left asleep over what stays: pollers look, and a parked read would have drained.
    for end in wakes.refilledEnds {
      for reader in self[end].doorbellReaders where reader.isPolled { wakes.add(reader.observer) }
    }
    wakes.refilledEnds.removeAll()
  }

  /// Lets the blocked senders to `end` go on, or listens for a receiver that drains through the
  /// mapping and rings nobody.
  ///
  /// Such a receiver clears the word, empties the slots and wakes the futexes that it found. The
  /// word is set before the last look at the table; then we sleep on a posted offset and, queued
  /// after it, on the word while it is set. A receiver that clears the word before we sleep keeps
  /// us from it; one that clears it later wakes the offset on which we sleep by then. One that is in
  /// the middle of a scan finds the word set at its end, and scans again.
  mutating func watchForDrain(
    of end: End, _ memory: RegionMemory, _ watcher: FutexWatcher, _ region: Region,
    _ wakes: inout Wakes
  ) {
    guard self[end].drainWatches.isEmpty else { return }
    let table = memory.incoming(of: end)
    if table.raiseInterrupt() { wakes.refilledEnds.append(end) }
    let before = wakes.posts
    resumeBlockedSenders(to: end, memory, &wakes)
    guard !self[end].blockedWrites.isEmpty else { return }
    // A peer that plays with the word does not keep us busy: the next drain that we do, and any
    // call of that end, looks at the table again.
    self[end].fruitlessWatches = wakes.posts == before ? self[end].fruitlessWatches + 1 : 0
    guard self[end].fruitlessWatches <= Self.fruitlessWatchLimit else { return }
    var words: [(offset: UInt32, value: UInt32?)] = []
    if let posted = table.firstPosted, (try? memory.window.check(posted)) != nil {
      words.append((posted, nil))
    }
    words.append((memory.geometry.outgoing(of: end.peer).wordOffset, 1))
    self[end].drainWatches = watcher.watchInOrder(words, in: memory, of: region)
  }

  mutating func stopWatching(_ end: End) {
    for word in self[end].drainWatches { word.drop() }
    self[end].drainWatches.removeAll()
  }
}
