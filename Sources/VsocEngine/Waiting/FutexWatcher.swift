// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
internal import Synchronization
internal import SystemPackage
internal import VsocProtocol

/// Sleeps on futex words for others: hears a FUTEX_WAKE that a client sends through its mapping.
///
/// futex_waitv(2) takes 128 words, so the words are spread over threads that sleep on up to 127
/// each, and on a control word by which they are told of new ones. Each thread arms all of its words
/// again whenever it was woken; new words, which are the most likely to be woken soon, are among few
/// therefore, whatever sleeps elsewhere. No wakeup is lost: a word is
/// armed with the value that its sleepers wait to go away, and the kernel refuses to sleep on it if
/// that is gone. The lock is a leaf under the regions' locks.
final class FutexWatcher: Sendable {
  private static let wordsPerShard = FutexWaitSet.capacity - 1

  /// Few, as all of them are armed again whenever one of them is woken or another comes.
  private static let youngCapacity = 8

  private struct State {
    /// Where new words are slept on. Its thread stays.
    var young: FutexShard?
    /// Words that have been slept on for a while. A thread goes when it has none.
    var old: [FutexShard] = []
    /// Words with sleepers, to be used again when the next sleeper comes.
    var places: [WatchedWord.Place: WatchedWord] = [:]
    var isStopped = false

    var all: [FutexShard] { (young.map { [$0] } ?? []) + old }
  }

  private let state = Lock(State())
  private let log: Logger

  init(log: Logger) { self.log = log }

  /// The number of threads.
  var threadCount: Int { state.withLock { $0.all.count } }

  /// Watches a word with sleepers from now on; nil if it is none, or no thread can be had for it.
  ///
  /// - Parameter value: what its sleepers wait to go away.
  func watch(
    _ offset: UInt32, value: UInt32, in memory: RegionMemory, of region: Region
  ) -> WatchedWord? {
    guard
      let new = WatchedWord(offset, value: value, memory: memory, region: region, watcher: self)
    else { return nil }
    return state.withLock { state -> WatchedWord? in
      if let word = state.places[new.place], let shard = word.shard, !word.isLive {
        // The thread still sleeps on it, or will arm it when it has done with a wakeup.
        word.expect(value)
        word.isLive = true
        shard.liveCount += 1
        return word
      }
      guard !state.isStopped, let young = youngShard(&state) else { return nil }
      young.add([new])
      state.places[new.place] = new
      return new
    }
  }

  /// Watches words in one call of the kernel, which looks at them in this order; empty if no
  /// thread can be had for them.
  ///
  /// - Parameter words: offsets, each with the value that it must have, nil for any.
  func watchInOrder(
    _ words: [(offset: UInt32, value: UInt32?)], in memory: RegionMemory, of region: Region
  ) -> [WatchedWord] {
    let new = words.compactMap {
      WatchedWord($0.offset, value: $0.value, memory: memory, region: region, watcher: self)
    }
    return state.withLock { state in
      guard !state.isStopped, let shard = oldShard(with: words.count, &state) else { return [] }
      shard.add(new)
      return new
    }
  }

  /// Nobody is interested in the word any more: makes room for another, and lets a thread go that
  /// has nothing to sleep on.
  func drop(_ word: WatchedWord) {
    state.withLock { state in
      guard word.isLive, let shard = word.shard else { return }
      word.isLive = false
      shard.liveCount -= 1
      if shard.liveCount == 0, shard !== state.young { shard.control.raise() }
    }
  }

  /// Makes all threads let go of dropped words, and so of memory that is to be unmapped.
  func collect() {
    state.withLock { state in
      for shard in state.all where shard.words.count > shard.liveCount { shard.control.raise() }
    }
  }

  /// Ends all threads.
  func stop() {
    state.withLock { state in
      state.isStopped = true
      for shard in state.all { shard.control.raise() }
    }
  }

  /// The shard for new words, with room. Those that fill it have proved to stay, and move on.
  private func youngShard(_ state: inout State) -> FutexShard? {
    guard let young = state.young ?? startShard() else { return nil }
    state.young = young
    guard young.liveCount >= Self.youngCapacity else { return young }
    let staying = young.words.filter(\.isLive)
    guard let old = oldShard(with: staying.count, &state) else {
      return young.liveCount < Self.wordsPerShard ? young : nil
    }
    young.words.removeAll(where: \.isLive)
    young.liveCount = 0
    old.add(staying)
    return young
  }

  private func oldShard(with count: Int, _ state: inout State) -> FutexShard? {
    if let shard = state.old.first(where: { $0.liveCount + count <= Self.wordsPerShard }) {
      return shard
    }
    guard let shard = startShard() else { return nil }
    state.old.append(shard)
    return shard
  }

  private func startShard() -> FutexShard? {
    let shard = FutexShard()
    do throws(Errno) {
      try Thread.start(name: "vsoc-futex", stackSize: 128 << 10) { self.sleep(shard) }
    } catch {
      log.error("no thread can be had to hear of wakes through mappings: \(error)")
      return nil
    }
    return shard
  }

  private func sleep(_ shard: FutexShard) {
    var set = FutexWaitSet()
    while let (words, generation) = arm(shard) {
      set.removeAll()
      unsafe set.append(shard.control.address, value: generation, isShared: false)
      for word in words {
        unsafe set.append(word.address, value: word.arm(), isShared: true)
      }
      switch set.wait() {
      case .woken(0), .interrupted:
        break
      case .woken(let index):
        // Not for a word that has moved on: the thread that has it hears of it, or sees it changed.
        let word = words[index - 1]
        if state.withLock({ _ in word.shard === shard }) { word.woken() }
        // The call names one word; of the others that were woken, all whose sleepers are done
        // show a changed value.
        for word in words where word.hasChanged { word.missed() }
      case .changed:
        for word in words where word.hasChanged { word.missed() }
      case .failed(let error):
        dropUnreachable(words, error)
      }
    }
  }

  /// Drops the words that cannot be slept on, or all if it is not known which these are. Those whose page
  /// cannot be had are: to touch one shows that.
  private func dropUnreachable(_ words: [WatchedWord], _ error: Errno) {
    let unreachable = words.filter { $0.isUnreachable }
    if unreachable.isEmpty {
      log.error("\(words.count) words are not slept on any more: \(error)")
    }
    for word in unreachable.isEmpty ? words : unreachable { word.drop() }
    for word in unreachable { word.missed() }
  }

  /// The words to sleep on, and the control word's value to which they belong; nil: end.
  private func arm(_ shard: FutexShard) -> (words: [WatchedWord], generation: UInt32)? {
    // The last word of a region's memory unmaps it, which may wait: not with the lock held.
    var dropped: [WatchedWord] = []
    defer { dropped.removeAll() }
    return state.withLock { state in
      let generation = shard.control.value
      if state.isStopped { for word in shard.words { word.isLive = false } }
      for word in shard.words where !word.isLive {
        word.shard = nil
        if state.places[word.place] === word { state.places.removeValue(forKey: word.place) }
      }
      dropped = shard.words.filter { !$0.isLive }
      shard.words.removeAll { !$0.isLive }
      if shard.words.isEmpty, state.isStopped || shard !== state.young {
        state.old.removeAll { $0 === shard }
        return nil
      }
      return (shard.words, generation)
    }
  }
}

/// The words of one thread, guarded by the watcher's lock.
final class FutexShard: @unchecked Sendable {
  /// Dropped words stay until the thread is next awake.
  var words: [WatchedWord] = []
  var liveCount = 0
  fileprivate let control = ControlWord()

  fileprivate func add(_ new: [WatchedWord]) {
    words += new
    liveCount += new.count
    for word in new { word.shard = self }
    control.raise()
  }
}

/// A futex word of the daemon's own memory, raised to wake the thread that sleeps on it.
@safe
private final class ControlWord: @unchecked Sendable {
  private let word: UnsafeMutablePointer<Atomic<UInt32>>

  init() {
    unsafe word = .allocate(capacity: 1)
    unsafe word.initialize(to: Atomic(0))
  }
  deinit { unsafe word.deallocate() }

  var value: UInt32 { unsafe word.pointee.load(ordering: .acquiring) }
  var address: UnsafeRawPointer { unsafe UnsafeRawPointer(word) }

  func raise() {
    unsafe word.pointee.wrappingAdd(1, ordering: .releasing)
    unsafe Futex.wakePrivate(word)
  }
}
