// SPDX-License-Identifier: Apache-2.0

internal import Synchronization
internal import VsocProtocol

/// A word of a region on which the daemon itself sleeps, to hear a FUTEX_WAKE from a mapping.
///
/// It keeps the memory mapped: the kernel looks at the word whenever the set is armed anew.
final class WatchedWord: @unchecked Sendable {
  /// Where a word stands, in whose memory.
  struct Place: Hashable {
    let memory: ObjectIdentifier
    let offset: UInt32
  }

  let offset: UInt32
  let region: Region
  private let memory: RegionMemory
  private let watcher: FutexWatcher
  private let word: SharedWord

  /// The value that sleepers wait to go away; of no meaning for a word without one.
  private let expected = Atomic<UInt32>(0)
  let isExpecting: Bool
  /// The value with which the word was armed last.
  private let armed = Atomic<UInt32>(0)
  /// Written under the watcher's lock.
  private let dropped = Atomic(false)
  /// The thread's set in which the word stands; guarded by the watcher's lock.
  var shard: FutexShard?
  /// Set before the daemon wakes the word itself, whose sleepers it has counted already.
  private let ownWake = Atomic(false)

  init?(
    _ offset: UInt32, value: UInt32?, memory: RegionMemory, region: Region, watcher: FutexWatcher
  ) {
    guard let word = try? memory.window.word(at: offset) else { return nil }
    self.word = word
    self.offset = offset
    self.memory = memory
    self.region = region
    self.watcher = watcher
    isExpecting = value != nil
    if let value { expected.store(value, ordering: .relaxed) }
  }

  var place: Place { Place(memory: ObjectIdentifier(memory), offset: offset) }
  var address: UnsafeRawPointer { unsafe word.address }
  var current: UInt32 { word.load() }

  /// The value with which to arm. Without an expected one, any change is of interest only as a
  /// wakeup, so the word is taken as it stands.
  func arm() -> UInt32 {
    let value = isExpecting ? expected.load(ordering: .acquiring) : current
    armed.store(value, ordering: .relaxed)
    return value
  }

  /// Whether its sleepers are done, or it is not what it was when it was armed.
  var hasChanged: Bool {
    current
      != (isExpecting ? expected.load(ordering: .acquiring) : armed.load(ordering: .acquiring))
  }

  /// Whether its memory is broken, after a look at it.
  var isUnreachable: Bool {
    _ = current
    return memory.isBroken
  }

  func expect(_ value: UInt32) { expected.store(value, ordering: .releasing) }
  func noteOwnWake() { ownWake.store(true, ordering: .releasing) }

  /// Whether anyone is interested; written under the watcher's lock.
  var isLive: Bool {
    get { !dropped.load(ordering: .acquiring) }
    set { dropped.store(!newValue, ordering: .releasing) }
  }

  /// No longer of interest. The thread that sleeps on it finds out when it is next awake.
  func drop() { watcher.drop(self) }

  /// The word was woken.
  func woken() {
    let isOwn = ownWake.exchange(false, ordering: .acquiringAndReleasing)
    region.futexWoken(offset, isCounted: !isOwn)
  }

  /// The word had another value when it was to be slept on.
  func missed() { region.futexWoken(offset, isCounted: false) }
}
