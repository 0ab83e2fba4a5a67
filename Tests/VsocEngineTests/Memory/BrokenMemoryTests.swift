// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocProtocol

@testable import VsocEngine

/// Maps files of its own, from which pages can be taken.
private final class FragileMapping: RegionMapping {
  private let files = Lock<[Int32]>([])

  var isForUseOnly: Bool { false }

  func map(
    _ file: RegionFile, of region: UInt32, _ geometry: RegionGeometry
  ) throws(Errno) -> SharedMapping {
    let copy = try SharedMemoryFile(name: "fragile", size: Int(geometry.size)).takeDescriptor()
    let mapping = try SharedMapping(descriptor: copy.raw, size: Int(geometry.size))
    let raw = copy.release()
    files.withLock { $0.append(raw) }
    return mapping
  }

  /// Takes all pages of what was mapped last.
  func empty() throws {
    let raw = try #require(files.withLock { $0.last })
    try FileDescriptor(rawValue: raw).resize(to: 0)
  }

  var count: Int { files.withLock { $0.count } }

  deinit {
    for raw in files.withLock({ $0 }) { try? FileDescriptor(rawValue: raw).close() }
  }
}

/// A page of a region's file that cannot be had ends neither the process nor anybody else's calls.
@Suite struct BrokenMemoryTests {
  private let mapping = FragileMapping()
  private let log = CollectedLog()
  private let engine: Engine
  private let region: Region
  private let other: Region

  init() throws {
    engine = try Engine(storage: RegionStorage(mapping: mapping), log: log.logger)
    other = try engine.create(Fixture.configuration("other"))
    region = try engine.create(Fixture.configuration("test"))
    _ = try other.sealedMemory()
    try region.beginUse()
    _ = try region.sealedMemory()
  }

  private func write(_ byte: UInt8, at offset: UInt64) throws {
    try unsafe withUnsafeBytes(of: byte) { try unsafe region.write($0, at: offset) }
  }

  @Test func `Calls fail from then on, those that wait end, and one line tells why`() throws {
    let outcome = Monitor(Result<UInt32, Abandonment>?.none)
    let wait = CondWait(
      region, end: .guest, offset: 0x3000, value: 0, deadline: nil, wakes: 0
    ) { wakes, reason in
      outcome.withLock { $0 = reason.map { .failure($0) } ?? .success(wakes) }
    }
    wait.register()
    wait.begin()
    try mapping.empty()
    #expect(throws: Errno.ioError) { try write(1, at: 0x2000) }
    let result = outcome.wait(until: .after(seconds: Fixture.seconds)) { $0 }
    #expect(result == .failure(.broken))
    #expect(throws: Errno.ioError) { try region.value(at: 0x3000) }
    #expect(throws: Errno.ioError) { try region.condWake(0x3000) }
    #expect(throws: Errno.ioError) { try region.copy() }
    #expect(throws: Errno.ioError) { try region.sendInterrupt(from: .guest) }
    #expect(throws: Errno.ioError) { try region.sealedMemory() }
    #expect(region.snapshot(of: .guest).engines.incomingPosted == 0)
    let lines = log.lines.withLock { $0 }
    #expect(lines.count == 1 && lines[0].contains(#"region "test" cannot be had"#), "\(lines)")
    // Nobody else is concerned.
    try other.condWake(0x3000)
    try other.sendInterrupt(from: .guest)
    region.endUse()
    engine.shutDown()
  }

  @Test func `Who waits afterwards is told`() throws {
    try mapping.empty()
    #expect(throws: Errno.ioError) { try region.value(at: 0x3000) }
    let outcome = Monitor(Abandonment?.none)
    let wait = InterruptWait(region, end: .guest) { reason in outcome.withLock { $0 = reason } }
    wait.register()
    wait.begin()
    #expect(outcome.wait(until: .after(seconds: Fixture.seconds)) { $0 } == .broken)
    region.endUse()
    engine.shutDown()
  }

  @Test func `When nobody uses it any more it is mapped anew`() throws {
    try mapping.empty()
    #expect(throws: Errno.ioError) { try write(1, at: 0x2000) }
    let mapped = mapping.count
    try region.beginUse()
    region.endUse()
    #expect(throws: Errno.ioError) { try write(1, at: 0x2000) }
    region.endUse()
    try region.beginUse()
    try write(1, at: 0x2000)
    #expect(mapping.count == mapped + 1)
    try region.sendInterrupt(from: .guest)
    region.endUse()
    engine.shutDown()
  }
}

extension Region {
  fileprivate func copy() throws(Errno) {
    unsafe try read(at: 0, size: 8) { _ in }
  }
}
