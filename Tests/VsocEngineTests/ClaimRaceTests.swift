// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import Synchronization
import TestSupport
import Testing
import VsocProtocol

@testable import VsocEngine

/// A wait is given up in the very moment in which it is served: what it was about to be given stays
/// for the next one.
@Suite(.serialized) struct ClaimRaceTests {
  /// At least; more until each has won.
  private static let rounds = 1000

  /// Which rounds there have been, and who won.
  private struct Score {
    private(set) var rounds = 0
    var interrupted = 0
    private let deadline = MonotonicInstant.after(seconds: 3 * Fixture.seconds)

    var haveBothWon: Bool { interrupted > 0 && interrupted < rounds }

    /// Whether there is to be another round. How often each wins depends on the machine, and on what
    /// else it does.
    mutating func goesOn() -> Bool {
      if rounds >= ClaimRaceTests.rounds, haveBothWon || MonotonicInstant.now > deadline {
        return false
      }
      rounds += 1
      return true
    }
  }

  /// A thread that gives waits up.
  private final class Interrupter: Sendable {
    private static let end: UInt64 = .max
    private let token = Atomic<UInt64>(0)
    private let ready = Atomic<UInt64>(0)
    private let done = Atomic<UInt64>(0)

    init(_ parking: Parking) throws {
      try Thread.start(name: "interrupt") { [self] in
        var last: UInt64 = 0
        while true {
          let next = token.load(ordering: .acquiring)
          if next == Self.end { return }
          if next == last {
            sched_yield()
            continue
          }
          last = next
          ready.store(next, ordering: .releasing)
          // A little later each time, to get to every place of what the other thread does.
          for _ in 0..<(next % 256) { _ = token.load(ordering: .relaxed) }
          parking.abandon(token: next, .interrupted)
          done.store(next, ordering: .releasing)
        }
      }
    }

    /// Begins the wait and gives it up at the same time.
    func race(_ wait: Waiter) throws {
      wait.register()
      token.store(wait.token, ordering: .releasing)
      try self.wait(for: ready, wait.token)
      wait.begin()
      try self.wait(for: done, wait.token)
    }

    private func wait(for step: borrowing Atomic<UInt64>, _ token: UInt64) throws {
      let deadline = MonotonicInstant.after(seconds: Fixture.seconds)
      while step.load(ordering: .acquiring) != token {
        try #require(MonotonicInstant.now < deadline)
      }
    }

    func stop() { token.store(Self.end, ordering: .releasing) }
  }

  @Test func `Offsets are read by the wait that is given up or by the next read`() throws {
    let fixture = try Fixture()
    let region = fixture.region
    let reader = region.openDoorbell(.host)
    let interrupter = try Interrupter(region.parking)
    defer { interrupter.stop() }
    var score = Score()
    while score.goesOn() {
      // There already when the wait begins: the window is the time that it takes to drain.
      _ = try region.post([0x2000], from: .guest)
      let outcome = Outcome<[UInt32]>()
      let wait = DoorbellRead(reader, capacity: 64) { outcome.set($0) }
      try interrupter.race(wait)
      let result = try #require(outcome.wait())
      if result == .failure(.interrupted) {
        score.interrupted += 1
        try #require(try region.read(reader, capacity: 64) == [0x2000], "round \(score.rounds)")
      } else {
        try #require(result == .success([0x2000]), "round \(score.rounds)")
        try #require(try region.read(reader, capacity: 64) == [])
      }
      try #require(outcome.results.count == 1)
    }
    #expect(score.haveBothWon)
  }

  @Test func `A count is read by the wait that is given up or by the next read`() throws {
    let fixture = try Fixture()
    let region = fixture.region
    let reader = region.openSignal(.host)
    let interrupter = try Interrupter(region.parking)
    defer { interrupter.stop() }
    var score = Score()
    while score.goesOn() {
      let count = UInt64(score.rounds)
      try region.inject(from: .guest)
      let outcome = Outcome<UInt64>()
      let wait = SignalRead(reader) { outcome.set($0) }
      try interrupter.race(wait)
      let result = try #require(outcome.wait())
      if result == .failure(.interrupted) {
        score.interrupted += 1
        try #require(try region.read(reader) == count, "count \(count)")
      } else {
        try #require(result == .success(count))
        try #require(try region.read(reader) == nil)
      }
    }
    #expect(score.haveBothWon)
  }
}
