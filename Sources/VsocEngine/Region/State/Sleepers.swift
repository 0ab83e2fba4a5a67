// SPDX-License-Identifier: Apache-2.0

internal import VsocProtocol

/// The COND_WAIT sleepers of a region by offset. Those at one offset all wait for the same value to
/// go away: whoever waits for another one is done as soon as anybody looks.
struct Sleepers {
  struct Bucket {
    var waits: [UInt64: CondWait] = [:]
    /// Hears a FUTEX_WAKE from a mapping; nil if no thread could be had for it.
    var watch: WatchedWord?
  }

  private(set) var buckets: [UInt32: Bucket] = [:]

  mutating func add(_ wait: CondWait, watch: () -> WatchedWord?) {
    buckets[wait.offset, default: Bucket(watch: watch())].waits[wait.token] = wait
  }

  mutating func remove(_ wait: CondWait) {
    guard var bucket = buckets.removeValue(forKey: wait.offset) else { return }
    bucket.waits.removeValue(forKey: wait.token)
    put(bucket, at: wait.offset)
  }

  /// Replaces the bucket of an offset; an empty one goes, and its word is no longer watched.
  mutating func put(_ bucket: Bucket, at offset: UInt32) {
    if bucket.waits.isEmpty {
      bucket.watch?.drop()
      buckets.removeValue(forKey: offset)
    } else {
      buckets[offset] = bucket
    }
  }

  /// Takes the bucket out, to be changed and put back.
  mutating func take(at offset: UInt32) -> Bucket? {
    buckets.removeValue(forKey: offset)
  }
}

extension RegionState {
  /// Lets those who sleep at `offset` look at their word; nobody else stirs. Under the lock.
  ///
  /// - Parameters:
  ///   - isCounted: this is a wakeup, and not just a look at the word.
  ///   - isOurs: the daemon wakes the word's futex as well.
  mutating func wakeSleepers(
    at offset: UInt32, isCounted: Bool, isOurs: Bool = true, _ memory: RegionMemory,
    _ wakes: inout Wakes
  ) {
    guard var bucket = sleepers.take(at: offset) else { return }
    guard let word = try? memory.window.word(at: offset) else { return }
    // Read once: all of them judge by the same value.
    let value = word.load()
    for (token, wait) in bucket.waits {
      if isCounted { wait.wakes &+= 1 }
      guard wait.value != value else { continue }
      bucket.waits.removeValue(forKey: token)
      if wait.claim() { wakes.sleepers.append(wait) }
    }
    // The FUTEX_WAKE that goes with a counted wakeup reaches our own sleep on the word as well.
    if isCounted, isOurs, !bucket.waits.isEmpty { bucket.watch?.noteOwnWake() }
    sleepers.put(bucket, at: offset)
  }
}
