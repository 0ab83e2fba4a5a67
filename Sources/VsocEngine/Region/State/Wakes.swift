// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import VsocProtocol

/// Everything that one event wakes: collected while the region's lock is held, delivered after.
///
/// Each waiter in it was claimed and taken from its list under the lock, so that nobody else can
/// finish it, and its result was fixed there.
struct Wakes {
  /// More pollers than this are not told while somebody waits for it.
  private static let crowd = 8

  var doorbellReads: [(DoorbellRead, [UInt32])] = []
  var signalReads: [(SignalRead, UInt64)] = []
  var blockedWrites: [DoorbellWrite] = []
  var interruptWaits: [InterruptWait] = []
  var sleepers: [CondWait] = []
  var observers: [any ReadinessObserver] = []
  /// Of bells, and of peers.
  var events: [SharedEvent] = []
  /// Words on which plain futex sleepers are woken, with the memory that they stand in.
  var futexes: [UInt32] = []
  /// The same for `interrupt_signalled` words, which are nobody's business but a blocked sender's.
  var clearedWords: [UInt32] = []
  var memory: RegionMemory?
  /// Ends at which something was posted meanwhile, and not yet rung for.
  var refilledEnds: [End] = []

  // What is to be counted.
  var posts = 0
  var rings = 0
  var drains = 0
  var offsets = 0
  var injections = 0
  var notifications = 0
  var condWakes = 0
  var badOffsets = 0
  var lostPostBacks = 0

  private func wake(_ offsets: [UInt32]) {
    guard let memory else { return }
    for offset in offsets {
      if let word = try? memory.window.word(at: offset) { unsafe Futex.wakeAll(word.address) }
    }
  }

  /// Wakes them all. No lock may be held.
  consuming func deliver(_ parking: Parking, ringingBy bells: BellWatch) {
    // Our sleepers before plain ones: a FUTEX_WAKE wakes the thread that listens on the word as
    // well, which is not to run before those who wait for it. Both before the readers, who may
    // rely on everybody at an offset being awake when they are told of it.
    for sleeper in sleepers {
      parking.forget(sleeper)
      sleeper.completion(sleeper.wakes, nil)
    }
    wake(futexes)
    for wait in interruptWaits {
      parking.forget(wait)
      wait.completion(nil)
    }
    for (read, offsets) in doorbellReads {
      parking.forget(read)
      read.completion(.success(offsets))
    }
    for (read, count) in signalReads {
      parking.forget(read)
      read.completion(.success(count))
    }
    wake(clearedWords)
    for write in blockedWrites {
      parking.forget(write)
      write.completion(write.posted, nil)
    }
    for event in events { bells.ring(event) }
    let isCrowd = observers.count > Self.crowd
    for observer in observers { observer.readinessMayHaveChanged(isOneOfMany: isCrowd) }
  }
}
