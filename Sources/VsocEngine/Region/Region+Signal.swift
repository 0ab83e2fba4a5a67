// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocProtocol

/// Signal files: the shm_signal protocol (SPEC §6).
extension Region {
  /// Opens a signal file for reading: the handle sees every notification from now on.
  package func openSignal(_ end: End, observer: (any ReadinessObserver)? = nil) -> SignalReader {
    let reader = SignalReader(region: self, end: end, observer: observer)
    state.withLock { state in
      reader.seen = state[end].signalCount
      state[end].signalReaders.append(reader)
    }
    return reader
  }

  package func close(_ reader: SignalReader) {
    state.withLock { state in
      state[reader.end].signalReaders.removeAll { $0 === reader }
    }
    parking.abandonAll(.gone) { ($0 as? SignalRead)?.reader === reader }
  }

  /// Acknowledges what is due and gives the count, if the handle has not seen it.
  package func read(_ reader: SignalReader) throws(Errno) -> UInt64? {
    try updateMemory { state, memory, wakes in state.readSignal(reader, memory, &wakes) }
  }

  /// Waits for a notification.
  func park(_ read: SignalRead) throws(Errno) {
    try updateMemory { state, memory, wakes in
      if !read.isClaimed { state.enter(read, memory, &wakes) }
    }
  }

  package func isReadable(_ reader: SignalReader) throws(Errno) -> Bool {
    try updateMemory { state, memory, _ in
      reader.isPolled = true
      return state.isReadable(reader, memory)
    }
  }

  /// Marks the peer of `end` dirty, and notifies it if the protocol says so.
  package func inject(from end: End) throws(Errno) {
    try updateMemory { state, memory, wakes in
      wakes.injections += 1
      // Also if the protocol asks for no notification: whoever set pending may have died before it
      // rang, and readers would sleep through everything that comes after.
      let isDue = memory.signal.inject(to: end.peer)
      state.signalMayBeDue(end.peer, memory, &wakes)
      // Peers have one bell for everything.
      if isDue, let bells = state.bells, bells.hasPeers(at: end.peer) {
        wakes.events.append(bells[end.peer])
      }
    }
  }

  /// Unmasks `end`; what came meanwhile is delivered.
  package func enableSignal(_ end: End) throws(Errno) {
    try updateMemory { state, memory, wakes in
      _ = memory.signal.enable(end)
      // Also without anything due: a count that was delivered to one reader before the end was
      // masked may be news to another.
      state.signalMayBeDue(end, memory, &wakes)
    }
  }

  package func disableSignal(_ end: End) throws(Errno) {
    try updateMemory { _, memory, _ in memory.signal.disable(end) }
  }
}
