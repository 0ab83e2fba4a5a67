// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocProtocol

@testable import VsocEngine

/// What is asked of the files of regions, and what becomes of calls that they refuse.
@Suite struct RegionFilesTests {
  /// Memory, of which the test says whether it can be had.
  private final class Files: RegionFiles {
    struct State {
      var error: Errno?
      var found: Set<RegionName> = []
      var isBlocked = false
      var waiting = 0
      /// What was told last, and what there is.
      var kept: [RegionConfiguration] = []
      /// How often something older was told than before, if owners only count up.
      var stepsBack = 0
      var names: Set<RegionName> = []
    }

    let state = Monitor(State())
    private let memory = MemoryFiles()

    private func change(_ body: (inout State) -> Void) throws(Errno) {
      let error = state.withLock { state in
        state.waiting += 1
        return state.error
      }
      _ = state.wait(until: .after(seconds: 3 * Fixture.seconds)) { $0.isBlocked ? nil : true }
      state.withLock { state in
        state.waiting -= 1
        if error == nil { body(&state) }
      }
      if let error { throw error }
    }

    func add(_ regions: [RegionConfiguration], _ headers: [RegionHeader]) throws(Errno) {
      try change { $0.names.formUnion(regions.map(\.name)) }
    }

    func open(_ header: RegionHeader) throws(Errno) -> RegionFile { try memory.open(header) }

    func wasFound(_ name: RegionName) -> Bool { state.withLock { $0.found.contains(name) } }

    func resize(_ file: RegionFile?, to header: RegionHeader) throws(Errno) {
      try change { _ in }
      try memory.resize(file, to: header)
    }

    func keepAccess(of regions: [RegionConfiguration]) throws(Errno) {
      try change { state in
        for (old, new) in zip(state.kept, regions) where new.guest.uid < old.guest.uid {
          state.stepsBack += 1
        }
        state.kept = regions
      }
    }

    func remove(_ name: RegionName) throws(Errno) {
      try change { $0.names.remove(name) }
    }

    func makeArea(isBacking: Bool) throws(Errno) -> RegionFile {
      try memory.makeArea(isBacking: isBacking)
    }

    func record(_ record: PermissionRecord) -> PermissionSlot? { nil }

    func markFilled(_ slot: PermissionSlot) {}

    func forget(_ slot: PermissionSlot) {}
  }

  private let files = Files()
  private let engine: Engine
  private let a = RegionName("a")!

  init() throws {
    engine = try Engine(limits: RegionLimits(bytes: 4 << 20), storage: RegionStorage(files: files))
  }

  private func fail(with error: Errno?) { files.state.withLock { $0.error = error } }

  @Test func `What cannot be made is not there, and its name is free`() throws {
    fail(with: .noSpace)
    let configurations = try [Fixture.configuration("a"), Fixture.configuration("b")]
    #expect(throws: Errno.noSpace) { try engine.create(configurations) }
    #expect(engine.regions.isEmpty && engine.usedBytes == 0)
    fail(with: nil)
    #expect(try engine.create(configurations).map(\.name) == configurations.map(\.name))
    #expect(engine.usedBytes == 2 << 20)
    engine.shutDown()
  }

  @Test func `What cannot be removed stays as it is`() throws {
    let region = try engine.create(Fixture.configuration("a"))
    _ = try region.post([0x2000], from: .guest)
    fail(with: .ioError)
    #expect(throws: Errno.ioError) { try engine.destroy(a) }
    #expect(engine.region(named: a) === region && engine.region(region.index) === region)
    #expect(engine.usedBytes == 1 << 20)
    #expect(try region.read(region.openDoorbell(.host), capacity: 8) == [0x2000])
    try region.beginUse()
    region.endUse()
    fail(with: nil)
    _ = try engine.destroy(a)
    #expect(engine.usedBytes == 0)
    _ = try engine.create(Fixture.configuration("a"))
    engine.shutDown()
  }

  @Test func `A size or an owner that cannot be kept stays as it is`() throws {
    let region = try engine.create(Fixture.configuration("a"))
    let before = region.configuration
    fail(with: .noSpace)
    #expect(throws: Errno.noSpace) { try engine.resize(region, to: 2 << 20) }
    #expect(throws: Errno.noSpace) { try engine.setAccess(of: .guest, of: region) { $0.uid = 5 } }
    #expect(region.configuration == before)
    #expect(engine.usedBytes == 1 << 20)
    // Nothing changes: nothing is to be kept.
    try engine.setAccess(of: .guest, of: region) { $0.uid = before.guest.uid }
    fail(with: nil)
    try engine.resize(region, to: 2 << 20)
    #expect(region.configuration.geometry.size == 2 << 20)
    engine.shutDown()
  }

  /// While a disk is waited for, the name is taken and the region is not there.
  @Test func `A region that is being made or removed is nobody's`() throws {
    files.state.withLock { $0.isBlocked = true }
    let maker = try Call { [engine] in _ = try engine.create(Fixture.configuration("a")) }
    try waitForFiles()
    #expect(engine.regions.isEmpty && engine.region(named: a) == nil)
    #expect(engine.usedBytes == 1 << 20)
    #expect(throws: Errno.fileExists) { try engine.create(Fixture.configuration("a")) }
    #expect(throws: Errno.noSuchFileOrDirectory) { try engine.destroy(a) }
    files.state.withLock { $0.isBlocked = false }
    try maker.wait()

    files.state.withLock { $0.isBlocked = true }
    let destroyer = try Call { [engine, a] in _ = try engine.destroy(a) }
    try waitForFiles()
    #expect(engine.region(named: a) == nil)
    #expect(throws: Errno.fileExists) { try engine.create(Fixture.configuration("a")) }
    #expect(throws: Errno.noSuchFileOrDirectory) { try engine.destroy(a) }
    files.state.withLock { $0.isBlocked = false }
    try destroyer.wait()
    #expect(engine.usedBytes == 0)
    engine.shutDown()
  }

  private func waitForFiles() throws {
    let isThere = files.state.wait(until: .after(seconds: Fixture.seconds)) { state in
      state.waiting > 0 ? true : nil
    }
    #expect(isThere == true)
  }

  @Test func `What was kept last is what there is`() throws {
    let names = ["a", "b", "c"]
    let regions = try engine.create(names.map { try Fixture.configuration($0) })
    let calls = try (0..<6).map { number in
      try Call { [engine] in
        for _ in 0..<1000 {
          try engine.setAccess(of: .guest, of: regions[number % 3]) { $0.uid += 1 }
        }
      }
    }
    for call in calls { try call.wait() }
    #expect(regions.map(\.configuration.guest.uid) == [2000, 2000, 2000])
    files.state.withLock { state in
      #expect(state.kept == regions.map(\.configuration))
      #expect(state.stepsBack == 0)
    }
    engine.shutDown()
  }

  @Test func `Names and files stay the same under creates and destroys at once`() throws {
    let names = ["a", "b", "c"]
    let configurations = try names.map { try Fixture.configuration($0) }
    let calls = try (0..<4).map { number in
      try Call { [engine] in
        var random = SplitMix(state: UInt64(number))
        for _ in 0..<2000 {
          let configuration = configurations.randomElement(using: &random)!
          do throws(Errno) {
            if Bool.random(using: &random) {
              try engine.create(configuration)
            } else {
              _ = try engine.destroy(configuration.name)
            }
          } catch {
            guard error == .fileExists || error == .noSuchFileOrDirectory else { throw error }
          }
        }
      }
    }
    for call in calls { try call.wait() }
    #expect(Set(engine.regions.map(\.name)) == files.state.withLock { $0.names })
    #expect(engine.usedBytes == UInt64(engine.regionCount) << 20)
    engine.shutDown()
  }

  @Test func `The size of a region from before is fixed`() throws {
    files.state.withLock { $0.found = [a] }
    try engine.adopt([Fixture.configuration("a"), Fixture.configuration("b")])
    let regions = engine.regions
    #expect(regions.map(\.isSealed) == [true, false])
    #expect(throws: Errno.notPermitted) { try engine.resize(regions[0], to: 2 << 20) }
    try engine.resize(regions[1], to: 2 << 20)
    #expect(files.state.withLock { $0.names }.isEmpty)
    engine.shutDown()
  }
}
