// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import Synchronization
import TestSupport
import Testing
import VsocProtocol

@testable import VsocEngine

/// Real threads, no luck: everybody who waits is asleep until somebody wakes them, so that a lost
/// wakeup is a deadline that passes.
@Suite(.serialized) struct EngineRaceTests {
  /// Runs each body in a thread of its own; false if not all are done at the deadline.
  private func run(_ bodies: [@Sendable () throws -> Void]) throws -> Bool {
    let done = Monitor(0)
    for body in bodies {
      try Thread.start(name: "test") {
        do { try body() } catch { Issue.record(error) }
        done.withLock { $0 += 1 }
      }
    }
    return done.wait(until: .after(seconds: 60)) { $0 == bodies.count ? true : nil } ?? false
  }

  @Test(arguments: [0, 1, 6] as [UInt32])
  func `Blocked writers and readers pass everything through any table`(slotsLg2: UInt32) throws {
    let fixture = try Fixture(slotsLg2: slotsLg2)
    let (region, rounds, senders) = (fixture.region, 2000, 4)
    let reader = region.openDoorbell(.host)
    // Each sender waits for its offset to be read before it posts it again.
    let read = Monitor([UInt32: Int]())
    let writers = (0..<senders).map { sender -> @Sendable () throws -> Void in
      let offset = UInt32(0x2000 + 4 * sender)
      return {
        for round in 1...rounds {
          if try region.post([offset], from: .guest) != .posted {
            let write = try fixture.park(write: [offset], from: .guest, posted: 0)
            #expect(write.wait() == .success(1))
          }
          let arrived = read.wait(until: .after(seconds: Fixture.seconds)) {
            $0[offset, default: 0] >= round ? true : nil
          }
          try #require(arrived != nil, "the post of round \(round) was lost")
        }
      }
    }
    let receiver: @Sendable () throws -> Void = {
      var total = 0
      while total < rounds * senders {
        let outcome = try fixture.park(reader)
        let result = try #require(outcome.wait(), "the reader was not woken")
        let offsets = try result.get().filter { $0 != 0 }
        total += offsets.count
        read.withLock { counts in for offset in offsets { counts[offset, default: 0] += 1 } }
      }
    }
    #expect(try run(writers + [receiver]))
  }

  @Test func `Event, deadline, interrupt and end race for a wait, and one of them gets it`() throws
  {
    let fixture = try Fixture()
    let region = fixture.region
    let outcomes = Lock<[Outcome<UInt32>]>([])
    let rounds = 2000
    let current = Atomic<UInt64>(0)
    let isDone = Atomic(false)
    let sleeper: @Sendable () throws -> Void = {
      for round in 0..<rounds {
        let deadline = MonotonicInstant.after(seconds: Double(round % 5) * 0.0001)
        let value = try fixture.word(0x2000).load()
        let outcome = try fixture.sleep(at: 0x2000, while: value, until: deadline)
        current.store(outcome.token, ordering: .releasing)
        outcomes.withLock { $0.append(outcome) }
        try #require(outcome.wait() != nil)
      }
      isDone.store(true, ordering: .releasing)
    }
    let waker: @Sendable () throws -> Void = {
      while !isDone.load(ordering: .acquiring) {
        let word = try fixture.word(0x2000)
        word.store(word.load() &+ 1)
        try region.condWake(0x2000)
      }
    }
    let interrupter: @Sendable () throws -> Void = {
      while !isDone.load(ordering: .acquiring) {
        region.parking.abandon(token: current.load(ordering: .acquiring), .interrupted)
      }
    }
    #expect(try run([sleeper, waker, interrupter]))
    for outcome in outcomes.withLock({ $0 }) { #expect(outcome.results.count == 1) }
    #expect(fixture.engine.parking.count == 0)
    #expect(region.snapshot(of: .guest).sleepers == 0)
  }

  @Test func `Masking races with injection and nothing is lost`() throws {
    let fixture = try Fixture()
    let (region, rounds) = (fixture.region, 5000)
    let reader = region.openSignal(.host)
    let seen = Monitor(0)
    let injector: @Sendable () throws -> Void = {
      for round in 1...rounds {
        try region.inject(from: .guest)
        let arrived = seen.wait(until: .after(seconds: Fixture.seconds)) {
          $0 >= round ? true : nil
        }
        try #require(arrived != nil, "injection \(round) was lost")
      }
    }
    let receiver: @Sendable () throws -> Void = {
      for _ in 0..<rounds {
        let result = try #require(try fixture.park(reader).wait(), "the reader was not woken")
        _ = try result.get()
        seen.withLock { $0 += 1 }
      }
    }
    let masker: @Sendable () throws -> Void = {
      while seen.withLock({ $0 }) < rounds {
        try region.disableSignal(.host)
        try region.enableSignal(.host)
      }
    }
    #expect(try run([injector, receiver, masker]))
  }

  @Test func `A peer that scribbles over everything spoils its own region and nothing else`() throws
  {
    let fixture = try Fixture(slotsLg2: 2)
    let region = fixture.region
    let reader = region.openDoorbell(.host)
    let signal = region.openSignal(.host)
    let isDone = Atomic(false)
    let scribbler: @Sendable () throws -> Void = {
      var random = SplitMix(state: 1)
      let window = try fixture.memory.window
      while !isDone.load(ordering: .acquiring) {
        // The control page and what follows, where everything is that the engine looks at.
        let offset = UInt32(random.next() % 0x2000) & ~3
        try window.word(at: offset).store(UInt32(truncatingIfNeeded: random.next()))
      }
    }
    let user: @Sendable () throws -> Void = {
      for round in 0..<20_000 {
        _ = try region.read(reader, capacity: 64)
        _ = try region.post([0x4000], from: .host, allOrNothing: true)
        _ = try region.read(signal)
        try region.inject(from: .host)
        if round % 100 == 0 { _ = region.snapshot(of: .host) }
      }
      isDone.store(true, ordering: .releasing)
    }
    #expect(try run([scribbler, user]))
    #expect(region.header(region.configuration).geometry.size == 1 << 20)
  }
}
