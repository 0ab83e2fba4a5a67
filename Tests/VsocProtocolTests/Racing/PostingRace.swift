// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import Synchronization
import SystemPackage
import TestSupport
import Testing
import VsocProtocol

/// Senders and receivers as peers would write them that have the mapping and an eventfd: each
/// sender counts up a futex word of its own, posts the word's offset and rings if it must.
///
/// No one waits in any other way than by sleeping until the other side wakes it, so that a wakeup
/// that gets lost is a deadlock sooner or later: at the latest after the last post.
final class PostingRace: Sendable {
  struct Outcome {
    var senders = 0
    var receivers = 0
    /// How many `.posted` the senders got, and how many values the receivers and a last drain.
    var posted = 0
    var drained = 0
    /// What is wrong with values that the receivers got.
    var complaints: [String] = []
  }

  private let region: TestRegion
  private let table: SignalTable
  private let senders: Int
  private let postsPerSender: UInt32
  private let receivers: [Bell]
  private let abandoned = Atomic<Bool>(false)
  private let outcome = Monitor(Outcome())
  /// In a rendezvous each sender also hands over a value in ordinary memory, so that the thread
  /// sanitizer sees whether posting and draining order anything at all.
  private let payloads: Payloads

  init(slotsLg2: UInt32, senders: Int = 4, receivers: Int = 1, posts: Int) throws {
    region = try TestRegion(slotsLg2: slotsLg2)
    table = region.guestToHost
    self.senders = senders
    postsPerSender = UInt32(posts / senders)
    payloads = Payloads(count: senders)
    self.receivers = try (0..<receivers).map { _ in try Bell() }
  }

  /// Runs the race to its end, which is when the receivers together have seen what every sender
  /// stored last; nil if that has not come about at the deadline.
  func run(seconds: Double, rendezvous: Bool = false) throws -> Outcome? {
    for bell in receivers {
      try Thread.start(name: "receiver") { [self] in receive(bell, rendezvous: rendezvous) }
    }
    for index in 0..<senders {
      try Thread.start(name: "sender") { [self] in send(index, rendezvous: rendezvous) }
    }
    var finished = outcome.wait(until: .after(seconds: seconds)) { [self] outcome in
      outcome.senders == senders && outcome.receivers == receivers.count ? outcome : nil
    }
    if finished == nil { abandon() }
    _ = table.drain { _ in finished?.drained += 1 }
    return finished
  }

  // MARK: The region

  private func offset(_ index: Int) -> UInt32 { region.geometry.dataOffset + UInt32(index) * 4 }

  private typealias Word = UnsafePointer<Atomic<UInt32>>

  /// The futex word of a sender.
  private func counter(_ index: Int) -> Word { unsafe region.atomic(at: offset(index)) }

  /// Where a receiver says what it has seen of it; another cache line.
  private func seen(_ index: Int) -> Word {
    unsafe region.atomic(at: offset(index) + 1024)
  }

  private func load(_ word: Word) -> UInt32 { unsafe word.pointee.load(ordering: .relaxed) }

  private var signalled: Word {
    unsafe region.atomic(at: region.geometry.guestToHost.wordOffset)
  }

  private func sleep(on word: Word, while value: UInt32) {
    var set = FutexWaitSet()
    unsafe set.append(UnsafeRawPointer(word), value: value, isShared: true)
    _ = set.wait()
  }

  private func wake(_ word: Word) {
    unsafe Futex.wakeAll(UnsafeRawPointer(word))
  }

  // MARK: The two sides

  private func send(_ index: Int, rendezvous: Bool) {
    var posted = 0
    for number in 1...postsPerSender {
      if rendezvous { payloads[index] = number }
      // Relaxed: it is the posting that has to make it visible.
      _ = unsafe counter(index).pointee.wrappingAdd(1, ordering: .relaxed)
      var posting = table.post(offset(index))
      while posting == .full, !abandoned.load(ordering: .relaxed) {
        // Whoever filled the table may not have rung yet, or may never.
        ring()
        unsafe sleep(on: signalled, while: 1)
        posting = table.post(offset(index))
      }
      if posting == .posted { posted += 1 }
      ring()
      while rendezvous, !abandoned.load(ordering: .relaxed) {
        let value = unsafe seen(index).pointee.load(ordering: .acquiring)
        if value >= number { break }
        unsafe sleep(on: seen(index), while: value)
      }
      if abandoned.load(ordering: .relaxed) { return }
    }
    outcome.withLock {
      $0.senders += 1
      $0.posted += posted
    }
  }

  private func ring() {
    guard table.raiseInterrupt() else { return }
    for bell in receivers { bell.ring() }
  }

  private func receive(_ bell: Bell, rendezvous: Bool) {
    var drained = 0
    var complaints: [String] = []
    while !isComplete, !abandoned.load(ordering: .relaxed) {
      bell.wait()
      _ = table.drain { value in
        drained += 1
        let index = Int(value &- region.geometry.dataOffset) / 4
        guard value % 4 == 0, (0..<senders).contains(index) else {
          if complaints.count < 10 { complaints.append("drained \(value), which nobody posted") }
          return
        }
        // Another receiver may be ahead with this word.
        let number = unsafe load(counter(index))
        if rendezvous && payloads[index] != number {
          if complaints.count < 10 { complaints.append("a payload older than its post") }
        }
        noteSeen(number, of: index)
      }
      unsafe wake(signalled)
    }
    // The others may be asleep although everything is done.
    for bell in receivers { bell.ring() }
    outcome.withLock {
      $0.receivers += 1
      $0.drained += drained
      $0.complaints += complaints
    }
  }

  /// Raises what has been seen to `number`, in steps that the thread sanitizer understands
  /// (`Atomic.max` is one that it passes over).
  private func noteSeen(_ number: UInt32, of index: Int) {
    let word = unsafe seen(index)
    var current = unsafe load(word)
    while current < number {
      let (exchanged, original) = unsafe word.pointee.compareExchange(
        expected: current, desired: number, ordering: .releasing)
      if exchanged { break }
      current = original
    }
    unsafe wake(word)
  }

  private var isComplete: Bool {
    (0..<senders).allSatisfy { unsafe load(seen($0)) == postsPerSender }
  }

  /// Lets all threads end after a deadlock, for the sake of the other tests.
  private func abandon() {
    abandoned.store(true, ordering: .sequentiallyConsistent)
    for _ in 0..<100 where (outcome.withLock { $0.receivers }) < receivers.count {
      _ = unsafe signalled.pointee.exchange(0, ordering: .sequentiallyConsistent)
      unsafe wake(signalled)
      for index in 0..<senders { unsafe wake(seen(index)) }
      for bell in receivers { bell.ring() }
      _ = outcome.wait(until: .after(seconds: 0.01)) { _ in nil as Void? }
    }
  }
}
