// SPDX-License-Identifier: Apache-2.0

internal import VsocProtocol

/// The signal file of an end: shm_signal's notifications, counted. Under the region's lock.
extension RegionState {
  /// Whether a read of this handle would not block. While masked it always would.
  func isReadable(_ reader: SignalReader, _ memory: RegionMemory) -> Bool {
    memory.signal.isEnabled(reader.end)
      && (self[reader.end].signalCount > reader.seen || memory.signal.isDue(reader.end))
  }

  /// The count, if this handle has not seen it yet, after acknowledging what is due.
  mutating func readSignal(
    _ reader: SignalReader, _ memory: RegionMemory, _ wakes: inout Wakes
  ) -> UInt64? {
    guard isReadable(reader, memory) else { return nil }
    acknowledge(reader.end, for: reader, memory, &wakes)
    guard self[reader.end].signalCount > reader.seen else { return nil }
    reader.seen = self[reader.end].signalCount
    return reader.seen
  }

  /// Lets a read wait, unless a notification has come since it looked: that it gets as any that
  /// waits does, claimed first. A count that it would be given otherwise would be lost if its caller
  /// is interrupted just now.
  mutating func enter(_ read: SignalRead, _ memory: RegionMemory, _ wakes: inout Wakes) {
    self[read.end].signalReads.append(read)
    guard isReadable(read.reader, memory) else { return }
    acknowledge(read.end, memory, &wakes)
    serveSignalReads(read.end, memory, &wakes)
  }

  /// A notification may be due at `end`: those who wait for one look.
  mutating func signalMayBeDue(_ end: End, _ memory: RegionMemory, _ wakes: inout Wakes) {
    guard !self[end].signalReaders.isEmpty else { return }
    if !self[end].signalReads.isEmpty, memory.signal.isDue(end) {
      acknowledge(end, memory, &wakes)
    }
    serveSignalReads(end, memory, &wakes)
    addReadable(end, memory, &wakes)
  }

  /// Those who have polled a signal file that can be read: one look at what is there for all of them.
  private func addReadable(_ end: End, _ memory: RegionMemory, _ wakes: inout Wakes) {
    guard memory.signal.isEnabled(end) else { return }
    let (isDue, count) = (memory.signal.isDue(end), self[end].signalCount)
    for reader in self[end].signalReaders
    where reader.isPolled && (isDue || count > reader.seen) {
      wakes.add(reader.observer)
    }
  }

  /// Takes in what is due, as the protocol's wakeup does; then all readers may see a new count.
  ///
  /// - Parameter reader: sees it anyway. Its pollers would take a notification for a change that
  ///   came after the read, and not be told of one that really does.
  private mutating func acknowledge(
    _ end: End, for reader: SignalReader? = nil, _ memory: RegionMemory, _ wakes: inout Wakes
  ) {
    let rounds = memory.signal.acknowledge(end)
    guard rounds > 0 else { return }
    self[end].signalCount += UInt64(rounds)
    wakes.notifications += rounds
    serveSignalReads(end, memory, &wakes)
    let count = self[end].signalCount
    for other in self[end].signalReaders
    where other.isPolled && other !== reader && other.seen < count {
      wakes.add(other.observer)
    }
  }

  private mutating func serveSignalReads(
    _ end: End, _ memory: RegionMemory, _ wakes: inout Wakes
  ) {
    guard memory.signal.isEnabled(end) else { return }
    let count = self[end].signalCount
    self[end].signalReads.removeAll { read in
      guard read.reader.seen < count else { return false }
      if read.claim() {
        read.reader.seen = count
        wakes.signalReads.append((read, count))
      }
      return true
    }
  }
}
