// SPDX-License-Identifier: Apache-2.0

internal import VsocProtocol

/// The way of a ring through an end. All of it runs under the region's lock and reads the level
/// that shared memory and `isRung` hold, so that it does not matter who comes first: a waiter that
/// enters after the ring sees the level, one that entered before is found here.
extension RegionState {
  /// A ring arrives at `end`, from whatever source.
  ///
  /// - Parameter isBare: it may bring no offset and is to be seen all the same.
  mutating func ring(_ end: End, isBare: Bool, _ memory: RegionMemory, _ wakes: inout Wakes) {
    // Where peers ring as well, all rings go one way, and come back by `hear`.
    if let bells {
      wakes.events.append(bells[end])
    } else {
      arrive(at: end, isBare: isBare, memory, &wakes)
    }
  }

  /// The bell of `end` was rung: for whom and with what is not known.
  mutating func hear(_ end: End, _ memory: RegionMemory, _ wakes: inout Wakes) {
    if let bells { wakes.events += bells.otherEvents(at: end) }
    arrive(at: end, isBare: true, memory, &wakes)
    // Whoever rings here may have taken in what this end has posted. A virtual machine has no other way to
    // tell: it cannot wake a futex of ours. (Pollers have been told by now, and look at both.)
    resumeBlockedSenders(to: end.peer, memory, &wakes)
  }

  private mutating func arrive(
    at end: End, isBare: Bool, _ memory: RegionMemory, _ wakes: inout Wakes
  ) {
    if isBare { self[end].isRung = true }
    // Before a read drains the table: draining clears the word that these wait for.
    if !self[end].interruptWaits.isEmpty, memory.incoming(of: end).isInterruptRaised {
      wakeInterruptWaits(end, &wakes)
    }
    serveDoorbellReads(end, memory, &wakes)
    addReadable(end, memory, &wakes)
    // A peer that works through the mapping has no other bell for its signals.
    signalMayBeDue(end, memory, &wakes)
  }

  /// Whether a read of this handle would not block.
  func isReadable(_ reader: DoorbellReader, _ memory: RegionMemory) -> Bool {
    self[reader.end].log.hasEntries(after: reader.position) || hasArrivals(reader.end, memory)
  }

  /// Whether a drain would bring something: also what a sender posted that died before it rang.
  private func hasArrivals(_ end: End, _ memory: RegionMemory) -> Bool {
    let incoming = memory.incoming(of: end)
    return self[end].isRung || incoming.isInterruptRaised || !incoming.isEmpty
  }

  /// What the handle has not read yet, after taking in what has arrived.
  mutating func readDoorbell(
    _ reader: DoorbellReader, capacity: Int, _ memory: RegionMemory, _ wakes: inout Wakes
  ) -> [UInt32] {
    if hasArrivals(reader.end, memory) { takeIn(for: reader, memory, &wakes) }
    let offsets = self[reader.end].log.read(from: &reader.position, capacity: capacity)
    forgetWhatAllHaveRead(reader.end)
    return offsets
  }

  /// Lets a read wait, unless something has come since it looked: that it gets as any that waits
  /// does, claimed first. What it would be given otherwise would be lost if its caller is
  /// interrupted just now.
  mutating func enter(_ read: DoorbellRead, _ memory: RegionMemory, _ wakes: inout Wakes) {
    self[read.end].doorbellReads.append(read)
    if hasArrivals(read.end, memory) {
      takeIn(for: read.reader, memory, &wakes)
    } else if isReadable(read.reader, memory) {
      serveDoorbellReads(read.end, memory, &wakes)
    }
  }

  /// Takes in what has arrived. Other readers of the end are looked at too.
  private mutating func takeIn(
    for reader: DoorbellReader, _ memory: RegionMemory, _ wakes: inout Wakes
  ) {
    drain(reader.end, memory, &wakes)
    serveDoorbellReads(reader.end, memory, &wakes)
    addReadable(reader.end, but: reader, memory, &wakes)
  }

  /// Those who have polled a doorbell that can be read: one look at what is there for all of them.
  private func addReadable(
    _ end: End, but reader: DoorbellReader? = nil, _ memory: RegionMemory, _ wakes: inout Wakes
  ) {
    let (readers, log) = (self[end].doorbellReaders, self[end].log)
    guard !readers.isEmpty else { return }
    let hasArrivals = hasArrivals(end, memory)
    for other in readers
    where other.isPolled && other !== reader
      && (hasArrivals || log.hasEntries(after: other.position))
    {
      wakes.add(other.observer)
    }
  }

  private mutating func serveDoorbellReads(
    _ end: End, _ memory: RegionMemory, _ wakes: inout Wakes
  ) {
    while !self[end].doorbellReads.isEmpty {
      if hasArrivals(end, memory) { drain(end, memory, &wakes) }
      var rest: [DoorbellRead] = []
      for read in self[end].doorbellReads {
        guard self[end].log.hasEntries(after: read.reader.position) else {
          rest.append(read)
          continue
        }
        // One that was claimed by somebody else leaves the list as well, and the offsets stay.
        if read.claim() {
          let offsets = self[end].log.read(from: &read.reader.position, capacity: read.capacity)
          wakes.doorbellReads.append((read, offsets))
        }
      }
      let served = rest.count < self[end].doorbellReads.count
      self[end].doorbellReads = rest
      guard served else { return }
      forgetWhatAllHaveRead(end)
    }
  }

  /// What nobody is left to read is not kept.
  mutating func close(_ reader: DoorbellReader) {
    self[reader.end].doorbellReaders.removeAll { $0 === reader }
    forgetWhatAllHaveRead(reader.end)
  }

  private mutating func forgetWhatAllHaveRead(_ end: End) {
    let last = self[end].log.last
    if self[end].doorbellReaders.allSatisfy({ $0.position == last }) { self[end].log.removeAll() }
  }

  private mutating func wakeInterruptWaits(_ end: End, _ wakes: inout Wakes) {
    wakes.interruptWaits += self[end].interruptWaits.filter { $0.claim() }
    self[end].interruptWaits.removeAll()
  }

  /// Takes the incoming table in, as the receiver of the protocol does.
  mutating func drain(_ end: End, _ memory: RegionMemory, _ wakes: inout Wakes) {
    var drained: [UInt32] = []
    let wasRaised = memory.incoming(of: end).drain { drained.append($0) }
    let wasRung = self[end].isRung
    self[end].isRung = false
    wakes.drains += 1

    var arrivals = 0
    for value in drained {
      let offset = value & ~SignalTable.roundTripFlag
      guard (try? memory.window.check(offset)) != nil, offset != 0 else {
        wakes.badOffsets += 1
        continue
      }
      arrivals += 1
      arrive(offset, at: end)
      wakes.futexes.append(offset)
      wakeSleepers(at: offset, isCounted: true, memory, &wakes)
      if value != offset { postBack(offset, from: end, memory, &wakes) }
    }
    wakes.offsets += arrivals
    wakes.memory = memory
    if arrivals == 0, wasRung || wasRaised { arrive(DrainLog.bareRing, at: end) }
    if wasRaised {
      // For senders that found the table full and sleep on the word through their mapping.
      wakes.clearedWords.append(memory.geometry.outgoing(of: end.peer).wordOffset)
      wakeInterruptWaits(end, &wakes)
      for sender in self[end.peer].doorbellReaders where sender.watchesWritability {
        wakes.add(sender.observer)
      }
    }
    resumeBlockedSenders(to: end, memory, &wakes)
  }

  private mutating func arrive(_ offset: UInt32, at end: End) {
    let readers = self[end].doorbellReaders
    guard !readers.isEmpty else { return }
    self[end].log.append(offset) { readers.map(\.position).min() ?? 0 }
  }
}

extension Wakes {
  mutating func add(_ observer: (any ReadinessObserver)?) {
    if let observer { observers.append(observer) }
  }
}
