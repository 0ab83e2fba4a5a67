// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import TestSupport
import VsocProtocol

@testable import VsocEngine

/// An engine with one region, as tests begin with; shut down when the test is over.
final class Fixture: Sendable {
  static let seconds = 20.0

  let engine: Engine
  let region: Region
  var memory: RegionMemory { get throws { try region.sealedMemory() } }

  init(slotsLg2: UInt32 = RegionGeometry.defaultNodesLg2, size: UInt64 = 1 << 20) throws {
    engine = try Engine()
    region = try engine.create(
      Self.configuration("test", size: size, slotsLg2: slotsLg2))
  }

  deinit { engine.shutDown() }

  static func configuration(
    _ name: String, size: UInt64 = 1 << 20, slotsLg2: UInt32 = RegionGeometry.defaultNodesLg2
  ) throws -> RegionConfiguration {
    let access = EndAccess(uid: 0, gid: 0, mode: 0o660)
    return RegionConfiguration(
      name: RegionName(name)!,
      geometry: try RegionGeometry(
        size: size, guestToHostNodesLg2: slotsLg2, hostToGuestNodesLg2: slotsLg2),
      guest: access, host: access)
  }

  func word(_ offset: UInt32) throws -> SharedWord {
    try memory.window.word(at: offset)
  }

  func table(from end: End) throws -> SignalTable {
    try memory.outgoing(of: end)
  }

  // MARK: Calls that wait, and what became of them

  func park(_ reader: DoorbellReader, capacity: Int = 64) throws -> Outcome<[UInt32]> {
    let outcome = Outcome<[UInt32]>()
    let wait = DoorbellRead(reader, capacity: capacity) { outcome.set($0) }
    outcome.token = wait.token
    wait.register()
    try wait.enter()
    return outcome
  }

  func park(_ reader: SignalReader) throws -> Outcome<UInt64> {
    let outcome = Outcome<UInt64>()
    let wait = SignalRead(reader) { outcome.set($0) }
    outcome.token = wait.token
    wait.register()
    try wait.enter()
    return outcome
  }

  /// The result is the number of offsets posted when it was all of them.
  func park(write offsets: [UInt32], from end: End, posted: Int) throws -> Outcome<Int> {
    let outcome = Outcome<Int>()
    let wait = DoorbellWrite(region, from: end, offsets: offsets, posted: posted) {
      posted, reason in
      outcome.set(reason.map { .failure($0) } ?? .success(posted))
    }
    outcome.token = wait.token
    wait.register()
    try wait.enter()
    return outcome
  }

  func parkForInterrupt(_ end: End) throws -> Outcome<Bool> {
    let outcome = Outcome<Bool>()
    let wait = InterruptWait(region, end: end) { reason in
      outcome.set(reason.map { .failure($0) } ?? .success(true))
    }
    outcome.token = wait.token
    wait.register()
    try wait.enter()
    return outcome
  }

  /// The result is the count of wakes when the word had changed.
  func sleep(
    at offset: UInt32, while value: UInt32 = 0, until deadline: MonotonicInstant? = nil
  ) throws -> Outcome<UInt32> {
    let outcome = Outcome<UInt32>()
    let wait = CondWait(
      region, end: .guest, offset: offset, value: value, deadline: deadline, wakes: 0
    ) { wakes, reason in
      outcome.set(reason.map { .failure($0) } ?? .success(wakes))
    }
    outcome.token = wait.token
    wait.register()
    try wait.enter()
    return outcome
  }
}

/// What became of a call that waits; more than one answer is a failure by itself.
final class Outcome<Value: Sendable>: Sendable {
  private struct State {
    var results: [Result<Value, Abandonment>] = []
    var token: UInt64 = 0
  }

  private let monitor = Monitor(State())

  var token: UInt64 {
    get { monitor.withLock { $0.token } }
    set { monitor.withLock { $0.token = newValue } }
  }

  func set(_ result: Result<Value, Abandonment>) {
    monitor.withLock { $0.results.append(result) }
  }

  /// All answers so far.
  var results: [Result<Value, Abandonment>] { monitor.withLock { $0.results } }

  var isWaiting: Bool { results.isEmpty }

  /// The answer; nil if none has come at the deadline.
  func wait() -> Result<Value, Abandonment>? {
    monitor.wait(until: .after(seconds: Fixture.seconds)) { $0.results.first }
  }
}

/// Counts how often a poller would have been told.
final class CountingObserver: ReadinessObserver {
  private let monitor = Monitor(0)

  func readinessMayHaveChanged(isOneOfMany: Bool) { monitor.withLock { $0 += 1 } }

  var count: Int { monitor.withLock { $0 } }
}
