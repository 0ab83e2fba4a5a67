// SPDX-License-Identifier: Apache-2.0

internal import VsocProtocol

/// The engines of a region and everybody who waits at them. One lock guards all of it, both ends
/// included: the sections are short, and a ring at one end often touches the other.
///
/// The memory is touched with this lock held, which can mean waiting for a page of it. What must be
/// known without that is in `RegionLife`.
struct RegionState {
  /// The mapping. Made when it is first needed, so that a region that nobody uses costs no memory.
  var memory: RegionMemory?
  var guest: EndState
  var host: EndState
  var sleepers = Sleepers()
  /// From the first peer on.
  var bells: Bells?

  /// - Parameter allowance: of what is kept of offsets at both ends.
  init(allowance: KeptOffsets) {
    guest = EndState(allowance: allowance)
    host = EndState(allowance: allowance)
  }

  subscript(end: End) -> EndState {
    // Not `get`, which would copy a dozen arrays for a look at one of them.
    _read {
      if end == .guest { yield guest } else { yield host }
    }
    _modify {
      if end == .guest { yield &guest } else { yield &host }
    }
  }
}

/// What arrives at one end, and who waits for it there.
struct EndState {
  // The doorbell.

  /// It was rung without an offset, and nobody took that in yet.
  var isRung = false
  var log: DrainLog
  var doorbellReaders: [DoorbellReader] = []
  var doorbellReads: [DoorbellRead] = []
  /// Waits for the `interrupt_signalled` word to be set.
  var interruptWaits: [InterruptWait] = []

  // Senders to this end that found the table full.

  /// In the order in which they came.
  var blockedWrites: [DoorbellWrite] = []
  var owedPostBacks: OwedPostBacks
  /// Words on which a receiver that uses the mapping alone may be heard to drain.
  var drainWatches: [WatchedWord] = []
  /// How often in a row they told of a drain, and there was no room all the same.
  var fruitlessWatches = 0

  // The signal file.

  /// Notifications delivered so far.
  var signalCount: UInt64 = 0
  var signalReaders: [SignalReader] = []
  var signalReads: [SignalRead] = []

  init(allowance: KeptOffsets) {
    log = DrainLog(allowance: allowance)
    owedPostBacks = OwedPostBacks(allowance: allowance)
  }

  /// Nobody is left who could be told of them.
  mutating func forgetOffsets() {
    log.removeAll()
    owedPostBacks.removeAll()
  }
}
