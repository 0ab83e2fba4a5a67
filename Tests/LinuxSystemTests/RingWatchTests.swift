// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Events that are watched while others read them.
@Suite struct RingWatchTests {
  private static let seconds = 20.0
  private static let stop: UInt64 = 1

  /// What a thread that watches has heard of.
  private final class Heard: Sendable {
    let counts = Monitor([UInt64: Int]())
    let stop: SharedEvent

    /// - Parameter events: with tokens from 2 on.
    init(_ events: [SharedEvent], mayUseRing: Bool) throws {
      let stop = try SharedEvent()
      self.stop = stop
      let isReady = Monitor(false)
      try Thread.start(name: "watch") { [counts] in
        guard let watch = try? RingWatch(mayUseRing: mayUseRing) else { return }
        try? watch.add(stop, token: RingWatchTests.stop)
        for (token, event) in zip(2..., events) { try? watch.add(event, token: UInt64(token)) }
        isReady.withLock { $0 = true }
        while let tokens = try? watch.wait() {
          counts.withLock { counts in
            for token in tokens { counts[token, default: 0] += 1 }
          }
          if counts.withLock({ $0[0] != nil }) { return }
        }
      }
      _ = isReady.wait(until: .after(seconds: RingWatchTests.seconds)) { $0 ? true : nil }
    }

    func end() {
      counts.withLock { $0[0] = 1 }
      stop.ring()
    }

    func waitForMore(than count: Int, of token: UInt64) -> Int? {
      counts.wait(until: .after(seconds: RingWatchTests.seconds)) { counts in
        (counts[token] ?? 0) > count ? counts[token] : nil
      }
    }
  }

  @Test(arguments: [true, false])
  func `A ring is heard, also if somebody has read it by then`(mayUseRing: Bool) throws {
    let event = try SharedEvent()
    let heard = try Heard([event], mayUseRing: mayUseRing)
    let reader = try ReadingThread(event)
    var count = heard.counts.withLock { $0[2] ?? 0 }
    for _ in 0..<2000 {
      event.ring()
      count = try #require(heard.waitForMore(than: count, of: 2))
      if !mayUseRing {
        // Also told of is the reading, or not: a ring between the two is heard either way.
        reader.waitUntilEmpty()
        count = heard.counts.withLock { $0[2] ?? 0 }
      }
    }
    reader.end()
    heard.end()
  }

  @Test func `With io_uring a reading is not taken for a ring`() throws {
    let event = try SharedEvent()
    let heard = try Heard([event], mayUseRing: true)
    for round in 1...100 {
      event.ring()
      #expect(heard.waitForMore(than: round - 1, of: 2) == round)
      var count: UInt64 = 0
      #expect(unsafe read(event.descriptor.raw, &count, 8) == 8)
    }
    heard.end()
  }

  @Test(arguments: [true, false])
  func `Each event has its token, until it is removed`(mayUseRing: Bool) throws {
    let watch = try RingWatch(mayUseRing: mayUseRing)
    let events = try (0..<40).map { _ in try SharedEvent() }
    for (index, event) in events.enumerated() { try watch.add(event, token: UInt64(index)) }
    // What is writable is told once, without io_uring.
    if !mayUseRing {
      var told: Set<UInt64> = []
      while told.count < events.count { told.formUnion(try watch.wait()) }
    }
    for (index, event) in events.enumerated() {
      event.ring()
      #expect(try watch.wait() == [UInt64(index)])
    }
    for index in 0..<39 { watch.remove(token: UInt64(index)) }
    for event in events { event.ring() }
    #expect(try watch.wait() == [39])
  }
}

/// Reads an event as soon as there is something to read.
private final class ReadingThread: Sendable {
  private let event: SharedEvent
  private let isOver = Atomic(false)

  init(_ event: SharedEvent) throws {
    self.event = event
    try Thread.start(name: "reader") { [self] in
      var count: UInt64 = 0
      while !isOver.load(ordering: .relaxed) {
        if unsafe read(event.descriptor.raw, &count, 8) < 0 { sched_yield() }
      }
    }
  }

  func waitUntilEmpty() {
    var entry = pollfd(fd: event.descriptor.raw, events: Int16(POLLIN), revents: 0)
    while unsafe poll(&entry, 1, 0) == 1 { sched_yield() }
  }

  func end() { isOver.store(true, ordering: .relaxed) }
}
