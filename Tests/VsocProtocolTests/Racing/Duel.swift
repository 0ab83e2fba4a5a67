// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import Synchronization
import Testing

/// Runs two short pieces of code against each other, each on a core of its own if there are two,
/// very many times, starting as nearly at once as can be had.
///
/// What goes wrong with a missing fence goes wrong within some nanoseconds. The rounds therefore
/// come in batches, each round with memory of its own: the two threads meet before a batch, and
/// within it keep pace with each other by looking at where the other one is.
struct Duel {
  static let batch = 512

  /// Unoptimized code takes so long between a store and the next load that a missing fence hardly
  /// shows: in an optimized build the rounds cost little, and are what finds it. The thread
  /// sanitizer calls a function for each access, which hides such a thing altogether.
  private static func scaled(_ rounds: Int) -> Int {
    if unsafe dlsym(nil, "__tsan_init") != nil { return rounds / 20 }
    #if DEBUG
      return rounds
    #else
      return rounds * 10
    #endif
  }

  private final class Pace: Sendable {
    /// The number of batches that have been opened, and that the second thread has finished.
    let opened = Atomic<Int>(0)
    let finished = Atomic<Int>(0)
    /// The next round of each.
    let first = Atomic<Int>(0)
    let second = Atomic<Int>(0)
    let abandoned = Atomic<Bool>(false)
  }

  /// The results of the second thread, read by the first after the batch.
  @safe
  private final class Results: @unchecked Sendable {
    let values = UnsafeMutablePointer<Int>.allocate(capacity: batch)
    deinit { unsafe values.deallocate() }
  }

  /// - Parameters:
  ///   - rounds: how many, more or less; see `scaled`.
  ///   - prepare: called before round `i` of a batch, with nothing else going on.
  ///   - first, second: the two; what they return goes to `verify`.
  ///   - verify: called after the batch for each of its rounds; false ends the duel.
  static func run(
    rounds: Int, prepare: (Int) -> Void, first: (Int) -> Int,
    second: @escaping @Sendable (Int) -> Int, verify: (Int, Int, Int) -> Bool
  ) throws {
    let pace = Pace()
    let results = Results()
    try Thread.start(name: "duel") {
      var next = 1
      while true {
        waitPatiently { pace.opened.load(ordering: .acquiring) >= next }
        if pace.abandoned.load(ordering: .relaxed) { return }
        for index in 0..<batch {
          pace.second.store(index, ordering: .relaxed)
          keepPace { pace.first.load(ordering: .relaxed) >= index }
          stagger(pace, next &+ index &* 7)
          unsafe results.values[index] = second(index)
        }
        pace.finished.store(next, ordering: .releasing)
        next += 1
      }
    }
    defer {
      pace.abandoned.store(true, ordering: .relaxed)
      pace.opened.wrappingAdd(1, ordering: .releasing)
    }
    var mine = [Int](repeating: 0, count: batch)
    for number in 1...(scaled(rounds) + batch - 1) / batch {
      for index in 0..<batch { prepare(index) }
      pace.first.store(-1, ordering: .relaxed)
      pace.second.store(-1, ordering: .relaxed)
      pace.opened.store(number, ordering: .releasing)
      for index in 0..<batch {
        pace.first.store(index, ordering: .relaxed)
        keepPace { pace.second.load(ordering: .relaxed) >= index }
        stagger(pace, number &* 5 &+ index &* 3)
        mine[index] = first(index)
      }
      waitPatiently { pace.finished.load(ordering: .acquiring) >= number }
      for index in 0..<batch where unsafe !verify(index, mine[index], results.values[index]) {
        return
      }
    }
  }

  /// Waits for the other thread, giving way after a while: there may be only one core.
  private static func waitPatiently(_ condition: () -> Bool) {
    var turns = 0
    while !condition() {
      turns += 1
      if turns > 200 { sched_yield() }
    }
  }

  /// Waits for the other thread a little, and goes on without it.
  private static func keepPace(_ condition: () -> Bool) {
    for _ in 0..<100 where !condition() {}
  }

  /// Lets the two start with every small difference in time.
  private static func stagger(_ pace: Pace, _ seed: Int) {
    for _ in 0..<seed & 15 where pace.abandoned.load(ordering: .relaxed) {}
  }
}
