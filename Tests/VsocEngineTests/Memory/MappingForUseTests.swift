// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import Synchronization
import SystemPackage
import TestSupport
import Testing
import VsocProtocol

@testable import VsocEngine

/// Memory that is mapped while it is in use, as in page-cache mode.
@Suite struct MappingForUseTests {
  private let mapping = MappingForUse()
  private let engine: Engine
  private let region: Region

  init() throws {
    engine = try Engine(storage: RegionStorage(mapping: mapping))
    // A name of its own, by which its mappings are found.
    let number = Self.last.wrappingAdd(1, ordering: .relaxed).newValue
    region = try engine.create(Fixture.configuration("use\(number)"))
  }

  private static let last = Atomic(0)

  private var isMapped: Bool { region.state.withLock { $0.memory != nil } }
  private var mappings: Int { region.life.withLock { $0.mappings.value } }
  private var users: Int { region.life.withLock { $0.users } }

  private func resize(to size: UInt64) throws { try engine.resize(region, to: size) }

  /// Waits for what no event tells of.
  private func eventually(_ condition: () throws -> Bool) throws {
    let deadline = MonotonicInstant.after(seconds: Fixture.seconds)
    while try !condition() { try #require(MonotonicInstant.now < deadline) }
  }

  // MARK: Uses

  @Test func `The first user maps, all share it, the last one unmaps`() throws {
    #expect(throws: Errno.operationNotSupportedByDevice) { try region.value(at: 0x2000) }
    #expect(try region.mappingsInProcess == 0)
    try region.beginUse()
    try region.beginUse()
    try region.prepareMemory()
    #expect(mapping.count == 1)
    #expect(try region.mappingsInProcess == 1)
    #expect(try region.value(at: 0x2000) == 0)
    region.endUse()
    #expect(isMapped)
    region.endUse()
    #expect(!isMapped && mappings == 0)
    #expect(try region.mappingsInProcess == 0)
    #expect(throws: Errno.operationNotSupportedByDevice) { try region.value(at: 0x2000) }
    try region.beginUse()
    #expect(mapping.count == 2)
    region.endUse()
    engine.shutDown()
  }

  @Test func `A user that does not touch the memory maps it when it does`() throws {
    try region.beginUse(touchesMemory: false)
    #expect(mapping.count == 0)
    try region.prepareMemory()
    #expect(isMapped)
    // Nobody else's end takes it away.
    try region.beginUse()
    region.endUse()
    #expect(isMapped)
    region.endUse()
    #expect(!isMapped)
    engine.shutDown()
  }

  @Test func `What the engines hold outlives the mapping`() throws {
    try region.beginUse()
    #expect(try region.post([0x2000, 0x2004], from: .guest) == .posted)
    try region.inject(from: .host)
    try region.disableSignal(.host)
    let word = try region.sealedMemory().window.word(at: 0x3000)
    word.store(7)
    let before = End.allCases.map { region.snapshot(of: $0).engines }
    region.endUse()
    try eventually { try region.mappingsInProcess == 0 }
    // Without a mapping it is told from the file.
    for (end, engines) in zip(End.allCases, before) {
      let now = region.snapshot(of: end).engines
      #expect("\(now)" == "\(engines)")
    }
    #expect(region.snapshot(of: .host).engines.incomingPosted == 2)
    #expect(!region.snapshot(of: .host).engines.isSignalEnabled)
    try region.beginUse()
    #expect(try region.value(at: 0x3000) == 7)
    let reader = region.openDoorbell(.host)
    #expect(Set(try region.read(reader, capacity: 8)) == [0x2000, 0x2004])
    #expect(try region.read(region.openSignal(.guest)) == 1)
    region.endUse()
    engine.shutDown()
  }

  @Test func `A mapping that fails leaves nothing behind`() throws {
    mapping.fail(with: .permissionDenied)
    #expect(throws: Errno.permissionDenied) { try region.beginUse() }
    #expect(users == 0 && mappings == 0)
    try region.beginUse(touchesMemory: false)
    #expect(throws: Errno.permissionDenied) { try region.prepareMemory() }
    region.endUse()
    #expect(users == 0 && mappings == 0)
    mapping.fail(with: nil)
    try region.beginUse()
    region.endUse()
    _ = try engine.destroy(region.name)
    engine.shutDown()
  }

  /// Their words keep the memory mapped, for as long as the threads that sleep on them need.
  @Test func `Sleepers let go of the mapping when they are gone`() throws {
    // Often, as the thread that sleeps for them may not have come to it yet.
    for _ in 0..<100 {
      try region.beginUse()
      let outcome = Outcome<UInt32>()
      let wait = CondWait(
        region, end: .guest, offset: 0x2000, value: 0, deadline: nil, wakes: 0
      ) { wakes, reason in
        outcome.set(reason.map { .failure($0) } ?? .success(wakes))
      }
      wait.register()
      try wait.enter()
      region.parking.abandon(token: wait.token, .interrupted)
      #expect(outcome.wait() == .failure(.interrupted))
      region.endUse()
      try eventually { mappings == 0 }
      #expect(try region.mappingsInProcess == 0)
    }
    engine.shutDown()
  }

  @Test func `A region whose memory somebody still has is not destroyed`() throws {
    try region.beginUse()
    let memory = Lock<RegionMemory?>(try region.sealedMemory())
    region.endUse()
    #expect(!isMapped && mappings == 1)
    #expect(throws: Errno.resourceBusy) { try engine.destroy(region.name) }
    memory.withLock { $0 = nil }
    _ = try engine.destroy(region.name)
    #expect(try region.mappingsInProcess == 0)
    engine.shutDown()
  }

  // MARK: Races

  @Test func `Of users that come at once one maps, and the others wait for it`() throws {
    mapping.setBlocked(true)
    let calls = try (0..<8).map { _ in try Call { [region] in try region.beginUse() } }
    try mapping.waitForWaiting(1)
    try eventually { users == 8 }
    #expect(calls.allSatisfy { $0.isWaiting } && !isMapped)
    mapping.setBlocked(false)
    for call in calls { try call.wait() }
    #expect(isMapped && mapping.count == 1 && mappings == 1)
    #expect(try region.mappingsInProcess == 1)
    for _ in 0..<7 { region.endUse() }
    #expect(isMapped)
    region.endUse()
    #expect(mappings == 0)
    #expect(try region.mappingsInProcess == 0)
    engine.shutDown()
  }

  @Test func `A user that comes while the last one goes keeps the mapping`() throws {
    try region.beginUse()
    let hold = try StateHold(region)
    let last = try Call { [region] in region.endUse() }
    try eventually { users == 0 }
    try region.beginUse(touchesMemory: false)
    hold.end()
    try last.wait()
    #expect(isMapped && mappings == 1)
    region.endUse()
    #expect(!isMapped && mappings == 0)
    engine.shutDown()
  }

  @Test func `Nobody uses what is not mapped, and no mapping is left over`() throws {
    let calls = try (0..<4).map { number in
      try Call { [region] in
        for round in 0..<3000 {
          try region.beginUse()
          // Throws if it is not mapped.
          _ = try region.value(at: 0x2000)
          if round % 7 == number { _ = try region.post([0x2000], from: .guest) }
          region.endUse()
        }
      }
    }
    for call in calls { try call.wait() }
    #expect(users == 0 && !isMapped)
    try eventually { try region.mappingsInProcess == 0 && mappings == 0 }
    engine.shutDown()
  }

  /// At the end of a mount: a mapping would outlive the threads that serve its pages.
  @Test func `Nothing is mapped any more when all was unmapped`() throws {
    try region.beginUse()
    mapping.setBlocked(true)
    let other = try engine.create(Fixture.configuration("\(region.name)x"))
    let late = try Call { try other.beginUse() }
    try mapping.waitForWaiting(1)
    let end = try Call { [engine] in engine.unmapAll() }
    try eventually { !isMapped }
    #expect(throws: Errno.operationNotSupportedByDevice) { try region.value(at: 0x2000) }
    #expect(throws: Errno.operationNotSupportedByDevice) { try region.prepareMemory() }
    #expect(throws: Errno.operationNotSupportedByDevice) { try region.beginUse() }
    #expect(users == 1)
    region.endUse()
    // One that was on its way is waited for, and finds that it came too late.
    #expect(end.isWaiting)
    mapping.setBlocked(false)
    try late.wait()
    try end.wait()
    try eventually { try region.mappingsInProcess == 0 }
    #expect(throws: Errno.operationNotSupportedByDevice) { try other.value(at: 0x2000) }
    try eventually { try other.mappingsInProcess == 0 }
    other.endUse()
    engine.shutDown()
  }

  // MARK: While a thread waits for a page

  /// What has to be answered while a thread cannot go on.
  private func checkAnswered() throws {
    let name = region.name
    let size = region.configuration.geometry.size
    let call = try Call { [engine, region] in
      _ = region.configuration
      #expect(engine.regions.map(\.name) == [name])
      #expect(engine.region(region.index) === region)
      #expect(engine.region(named: name) === region)
      try engine.setAccess(of: .host, of: region) { $0.mode = 0o640 }
      #expect(region.configuration.host.mode == 0o640)
      _ = region.currentFile
      _ = region.isSealed
      #expect(throws: Errno.resourceBusy) {
        try engine.resize(region, to: 2 * UInt64(size))
      }
      #expect(throws: Errno.resourceBusy) { try engine.destroy(name) }
      try region.beginUse(touchesMemory: false)
      region.endUse()
      _ = try engine.create(Fixture.configuration("other"))
      _ = try engine.destroy(RegionName("other")!)
      #expect(engine.usedBytes == UInt64(size))
    }
    try call.wait()
  }

  @Test func `Names and attributes are told while a thread maps`() throws {
    mapping.setBlocked(true)
    let user = try Call { [region] in try region.beginUse() }
    try mapping.waitForWaiting(1)
    try checkAnswered()
    #expect(user.isWaiting)
    mapping.setBlocked(false)
    try user.wait()
    region.endUse()
    engine.shutDown()
  }

  @Test func `Names and attributes are told while a thread waits for a page`() throws {
    try region.beginUse()
    let hold = try StateHold(region)
    // So does whoever wants to touch the memory as well.
    let other = try Call { [region] in _ = try region.value(at: 0x2000) }
    try checkAnswered()
    #expect(other.isWaiting)
    hold.end()
    try other.wait()
    region.endUse()
    engine.shutDown()
  }

  // MARK: Size

  @Test func `The size stays while the memory is mapped, and can be changed after`() throws {
    try resize(to: 2 << 20)
    try region.beginUse()
    #expect(try region.post([0x2000], from: .guest) == .posted)
    #expect(throws: Errno.resourceBusy) { try resize(to: 1 << 20) }
    #expect(engine.usedBytes == 2 << 20)
    region.endUse()
    try eventually { mappings == 0 }
    try resize(to: 1 << 20)
    #expect(engine.usedBytes == 1 << 20)
    try region.beginUse()
    #expect(try region.sealedMemory().geometry.size == 1 << 20)
    // What the header says.
    #expect(try region.value(at: 4) == 1 << 20)
    #expect(try region.read(region.openDoorbell(.host), capacity: 8) == [0x2000])
    region.endUse()
    try eventually { mappings == 0 }
    #expect(throws: Errno.notPermitted) { try resize(to: 2 << 20) }
    engine.shutDown()
  }

  @Test func `The size of what is being mapped does not change`() throws {
    mapping.setBlocked(true)
    let user = try Call { [region] in try region.beginUse() }
    try mapping.waitForWaiting(1)
    #expect(throws: Errno.resourceBusy) { try resize(to: 2 << 20) }
    mapping.setBlocked(false)
    try user.wait()
    #expect(try region.sealedMemory().geometry.size == 1 << 20)
    region.endUse()
    engine.shutDown()
  }
}
