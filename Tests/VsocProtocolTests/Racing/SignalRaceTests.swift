// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import Synchronization
import TestSupport
import Testing
import VsocProtocol

/// One thread injects, one masks and unmasks, one is notified through an eventfd and acknowledges.
/// Each of them rings only when the protocol tells it to.
private final class SignalRace: Sendable {
  private let signal: ShmSignal
  private let injections: UInt32
  private let bell: Bell
  private let injected = Atomic<UInt32>(0)
  private let isOver = Atomic<Bool>(false)
  private let payloads = Payloads(count: 1)
  /// The last number that the receiver has seen.
  private let seen = Monitor<UInt32>(0)

  init(injections: Int) throws {
    signal = try TestRegion().signal
    self.injections = UInt32(injections)
    bell = try Bell()
  }

  /// True when the receiver has seen the last injection; false if it has not at the deadline.
  func run(seconds: Double, rendezvous: Bool) throws -> Bool {
    let deadline = MonotonicInstant.after(seconds: seconds)
    let ended = Monitor(0)
    try Thread.start(name: "receiver") { [self] in
      receive(rendezvous: rendezvous)
      ended.withLock { $0 += 1 }
    }
    try Thread.start(name: "injector") { [self] in
      inject(rendezvous: rendezvous, deadline)
      ended.withLock { $0 += 1 }
    }
    try Thread.start(name: "toggler") { [self] in
      toggle()
      ended.withLock { $0 += 1 }
    }
    // The toggler goes on until the injector has done, and leaves the end enabled.
    _ = ended.wait(until: deadline) { $0 >= 1 ? () : nil }
    isOver.store(true, ordering: .relaxed)
    let succeeded =
      seen.wait(until: deadline) { [injections] in $0 == injections ? true : nil } ?? false
    if !succeeded {
      seen.withLock { $0 = .max }
      bell.ring()
    }
    _ = ended.wait(until: .after(seconds: 10)) { $0 == 3 ? () : nil }
    return succeeded
  }

  private func inject(rendezvous: Bool, _ deadline: MonotonicInstant) {
    for number in 1...injections {
      if rendezvous { payloads[0] = number }
      injected.store(number, ordering: .relaxed)
      if signal.inject(to: .host) { bell.ring() }
      guard rendezvous else { continue }
      // Nothing is left to acknowledge then: what the receiver takes in next comes after the next
      // injection, and orders the payload that it looks at.
      let isTakenIn: Bool? = seen.wait(until: deadline) { seen in
        guard seen >= number else { return nil }
        let isQuiet = !signal.isDirty(.host) && !signal.isPending(.host)
        return isQuiet || number == injections ? true : nil
      }
      guard isTakenIn != nil else { return }
    }
  }

  private func toggle() {
    while !isOver.load(ordering: .relaxed) {
      signal.disable(.host)
      if signal.enable(.host) { bell.ring() }
    }
  }

  private func receive(rendezvous: Bool) {
    while true {
      bell.wait()
      while signal.isDue(.host) {
        // In one step for who waits for it, so that an acknowledgement is not taken for over while
        // its payload is still looked at. The lock orders no payload that is written after a wait.
        let isInOrder = seen.withLock { seen -> Bool in
          guard signal.acknowledge(.host) > 0 else { return true }
          let number = injected.load(ordering: .relaxed)
          if rendezvous && payloads[0] != number { return false }
          seen = max(seen, number)
          return true
        }
        guard isInOrder else { return }
      }
      if seen.withLock({ $0 }) >= injections { return }
    }
  }
}
extension Races {
  @Suite struct SignalRaceTests {
    @Test func `A million injections race with masking and none is lost`() throws {
      let race = try SignalRace(injections: 1_000_000)
      #expect(try race.run(seconds: 60, rendezvous: false), "the last injection was not delivered")
    }

    @Test func `No single injection is lost`() throws {
      let race = try SignalRace(injections: 50_000)
      #expect(try race.run(seconds: 60, rendezvous: true), "an injection was not delivered")
    }
  }
}
