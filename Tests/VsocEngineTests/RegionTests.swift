// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import Testing
import VsocProtocol

@testable import VsocEngine

@Suite struct RegionTests {
  private let engine: Engine

  init() throws {
    engine = try Engine(limits: RegionLimits(bytes: 4 << 20))
  }

  @Test func `Indices count from one and are not used twice`() throws {
    #expect(try engine.create(Fixture.configuration("a")).index == 1)
    _ = try engine.destroy(RegionName("a")!)
    #expect(try engine.create(Fixture.configuration("a")).index == 2)
    #expect(engine.region(1) == nil)
    engine.shutDown()
  }

  @Test func `Names are taken once, and the cap holds`() throws {
    _ = try engine.create(Fixture.configuration("a", size: 3 << 20))
    #expect(throws: Errno.fileExists) { try engine.create(Fixture.configuration("a")) }
    #expect(throws: Errno.noSpace) { try engine.create(Fixture.configuration("b", size: 2 << 20)) }
    #expect(engine.usedBytes == 3 << 20)
    _ = try engine.create(Fixture.configuration("b", size: 1 << 20))
    _ = try engine.destroy(RegionName("a")!)
    #expect(engine.usedBytes == 1 << 20)
    engine.shutDown()
  }

  @Test func `A region in use is not destroyed`() throws {
    let region = try engine.create(Fixture.configuration("a"))
    try region.beginUse()
    #expect(throws: Errno.resourceBusy) { try engine.destroy(region.name) }
    region.endUse()
    _ = try engine.destroy(region.name)
    #expect(throws: Errno.noSuchFileOrDirectory) { try region.beginUse() }
    #expect(throws: Errno.noSuchFileOrDirectory) { try engine.destroy(region.name) }
    engine.shutDown()
  }

  @Test func `A manager stays as long as what it manages`() throws {
    var managed = try Fixture.configuration("managed")
    managed.managedBy = RegionName("manager")
    let regions = try engine.create([managed, Fixture.configuration("manager")])
    #expect(regions[0].managerIndex == regions[1].index)
    #expect(throws: Errno.resourceBusy) { try engine.destroy(RegionName("manager")!) }
    _ = try engine.destroy(RegionName("managed")!)
    _ = try engine.destroy(RegionName("manager")!)
    engine.shutDown()
  }

  @Test func `The size changes until the memory is handed out`() throws {
    let region = try engine.create(Fixture.configuration("a"))
    // What the engines hold by then goes along.
    _ = try region.post([0x2000], from: .guest)
    try engine.resize(region, to: 2 << 20)
    #expect(region.configuration.geometry.size == 2 << 20)
    #expect(try region.read(region.openDoorbell(.host), capacity: 8) == [0x2000])
    #expect(throws: Errno.invalidArgument) { try engine.resize(region, to: 5000) }
    #expect(throws: Errno.invalidArgument) { try engine.resize(region, to: 8192) }
    #expect(throws: Errno.fileTooLarge) { try engine.resize(region, to: 4 << 30) }
    #expect(throws: Errno.noSpace) { try engine.resize(region, to: 8 << 20) }
    #expect(engine.usedBytes == 2 << 20)
    #expect(try region.sealedMemory().geometry.size == 2 << 20)
    #expect(throws: Errno.notPermitted) { try engine.resize(region, to: 1 << 20) }
    engine.shutDown()
  }

  @Test func `A write past the end changes nothing`() throws {
    let region = try engine.create(Fixture.configuration("a"))
    let bytes: [UInt8] = [1, 2, 3, 4]
    try unsafe bytes.withUnsafeBytes { bytes in
      unsafe try region.write(bytes, at: 0x2000)
      #expect(throws: Errno.notPermitted) { unsafe try region.write(bytes, at: (1 << 20) - 2) }
      #expect(throws: Errno.notPermitted) { unsafe try region.write(bytes, at: .max) }
    }
    var tail: [UInt8] = []
    try unsafe region.read(at: (1 << 20) - 2, size: 100) { tail = unsafe Array($0) }
    #expect(tail == [0, 0])
    try unsafe region.read(at: 1 << 21, size: 100) { tail = unsafe Array($0) }
    #expect(tail.isEmpty)
    engine.shutDown()
  }
}
