// SPDX-License-Identifier: Apache-2.0

internal import VsocProtocol

/// The sending side of a doorbell. Under the region's lock.
extension RegionState {
  /// The most round-trip offsets that an end may owe while its peer's table is full.
  private static let postBackLimit = 65_536

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
  func exceedsTable(_ offsets: [UInt32], from end: End) -> Bool {
    let slots = configuration.geometry.outgoing(of: end).slotCount
    guard offsets.count > slots else { return false }
    return Set(offsets.map { $0 & ~SignalTable.roundTripFlag }).count > slots
  }

  /// Room has come: those who wait for it go on, in their order.
  mutating func resumeBlockedSenders(to end: End, _ memory: RegionMemory, _ wakes: inout Wakes) {
    guard !self[end].blockedWrites.isEmpty || !self[end.peer].owedPostBacks.isEmpty else { return }
    let table = memory.incoming(of: end)
    var isFull = false
    var hasPosted = false

    for offset in self[end.peer].owedPostBacks {
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
    if self[end].blockedWrites.isEmpty { stopWatchingWord(of: end) }
    guard hasPosted else { return }
    if table.raiseInterrupt() { wakes.refilledEnds.append(end) }
  }

  /// A receiver at `end` has woken its side of `offset` and tells the sender so.
  mutating func postBack(
    _ offset: UInt32, from end: End, _ memory: RegionMemory, _ wakes: inout Wakes
  ) {
    let outgoing = memory.outgoing(of: end)
    if outgoing.post(offset) == .full {
      if self[end].owedPostBacks.count < Self.postBackLimit {
        self[end].owedPostBacks.insert(offset)
      } else {
        wakes.lostPostBacks += 1
      }
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
      for reader in self[end].doorbellReaders { wakes.add(reader.observer) }
    }
    wakes.refilledEnds.removeAll()
  }

  /// Listens for a receiver that drains through the mapping: it wakes the futexes that it finds
  /// posted, and may wake the word itself.
  mutating func watchForDrain(
    of end: End, _ memory: RegionMemory, _ watcher: FutexWatcher, _ region: Region
  ) {
    guard self[end].drainWatches.isEmpty else { return }
    var offsets = [configuration.geometry.outgoing(of: end.peer).wordOffset]
    if let posted = memory.incoming(of: end).firstPosted,
      (try? memory.window.check(posted)) != nil
    {
      offsets.append(posted)
    }
    self[end].drainWatches = offsets.compactMap {
      watcher.watch($0, value: nil, in: memory, of: region)
    }
  }

  mutating func stopWatchingWord(of end: End) {
    for word in self[end].drainWatches { word.drop() }
    self[end].drainWatches.removeAll()
  }
}
