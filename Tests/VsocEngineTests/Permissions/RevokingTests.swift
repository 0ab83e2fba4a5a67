// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocProtocol

@testable import VsocEngine

/// Areas that are reached through a kernel's page cache, which may not take the sizes that it is told.
private final class StubbornKernel: RegionMapping {
  private struct State {
    var area: RegionFile?
    var takesSizes = true
    /// Whether stores are only in the file when they have been written back.
    var hasPages = false
    var synchronized: (@Sendable () -> Void)?
  }

  private let state = Lock(State())

  var isForUseOnly: Bool { false }

  func map(
    _ file: RegionFile, of region: UInt32, _ geometry: RegionGeometry
  ) throws(Errno) -> SharedMapping {
    try SharedMapping(descriptor: file.descriptor.raw, size: Int(geometry.size))
  }

  func openArea(at place: UInt64, size: UInt32) throws(Errno) -> Descriptor? {
    let (area, takesSizes, hasPages) = state.withLock { ($0.area, $0.takesSizes, $0.hasPages) }
    guard takesSizes else { throw .wouldBlock }
    guard hasPages else { return try area?.descriptor.reopen(forWriting: true) }
    let pages = try SharedMemoryFile(name: "pages", size: Int(size)).takeDescriptor()
    try area?.descriptor.copy(0..<UInt64(size), to: pages, at: 0)
    return pages
  }

  func announceSize(of area: borrowing Descriptor, reachesPages: Bool) throws(Errno) {
    guard reachesPages || state.withLock({ $0.takesSizes }) else { throw .resourceBusy }
  }

  func synchronize(_ area: borrowing Descriptor) throws(Errno) {
    let (file, hasPages, then) = state.withLock { ($0.area, $0.hasPages, $0.synchronized) }
    if let file, hasPages {
      let target = try file.descriptor.reopen(forWriting: true)
      try area.copy(0..<area.status().size, to: target, at: 0)
    }
    then?()
  }

  func show(_ area: RegionFile) { state.withLock { $0.area = area } }
  func setHasPages() { state.withLock { $0.hasPages = true } }
  func setTakesSizes(_ takesSizes: Bool) { state.withLock { $0.takesSizes = takesSizes } }
  func onSynchronize(_ body: (@Sendable () -> Void)?) {
    state.withLock { $0.synchronized = body }
  }
}

@Suite struct RevokingTests {
  private let kernel = StubbornKernel()
  private let log = CollectedLog()
  private let engine: Engine
  private let manager: Region
  private let region: Region
  private let handle: AreaHandle
  private let permission = Permission(
    beginOffset: 0x2000, endOffset: 0x4000, ownerOffset: 0x2000, ownedValue: 7)

  init() throws {
    engine = try Engine(storage: RegionStorage(mapping: kernel), log: log.logger)
    manager = try engine.create(Fixture.configuration("owner"))
    var configuration = try Fixture.configuration("area")
    configuration.managedBy = manager.name
    region = try engine.create(configuration)
    handle = try AreaHandle(of: region, place: 1, isBacking: false)
    kernel.show(handle.file)
  }

  private func claim(_ permission: Permission? = nil, for handle: AreaHandle) throws(Errno) {
    try region.claim(
      permission ?? self.permission, for: handle, managedBy: manager,
      by: Claimant(process: 1, name: "test"))
  }

  private func word() throws -> UInt32 {
    try manager.sealedMemory().window.word(at: 0x2000).load()
  }

  private func write(_ text: String) throws {
    var text = text
    try text.withUTF8 { try unsafe handle.write(UnsafeRawBufferPointer($0), at: 0) }
  }

  private var text: String {
    get throws { String(decoding: try handle.read(at: 0, size: 5), as: UTF8.self) }
  }

  private var users: [Int] { [region, manager].map { $0.life.withLock { $0.users } } }

  @Test func `What cannot be revoked is not freed, and goes on`() throws {
    try claim(for: handle)
    try write("first")
    kernel.setTakesSizes(false)
    #expect(throws: Errno.resourceBusy) { try region.release(handle) }
    #expect(handle.permission == permission && handle.size == 8192)
    #expect(try word() == 7 && text == "first")
    #expect(log.lines.withLock { $0.count } == 1)
    // What the daemon sees there is what the holder writes.
    try write("other")
    let view = try region.sealedMemory().window.word(at: 0x2000)
    #expect(view.load() == 0x6568_746f)
    let next = try AreaHandle(of: region, place: AreaHandle.noPlace, isBacking: false)
    #expect(throws: Errno.wouldBlock) { try claim(for: next) }
    kernel.setTakesSizes(true)
    try region.release(handle)
    #expect(try word() == 0 && handle.permission == nil)
    #expect(try region.sealedMemory().window.word(at: 0x2000).load() == 0x6568_746f)
    handle.close()
    next.close()
    #expect(users == [0, 0])
    engine.shutDown()
  }

  /// A mapping keeps the handle open there.
  @Test func `A close ends it all the same`() throws {
    try claim(for: handle)
    try write("first")
    kernel.setTakesSizes(false)
    #expect(throws: Errno.resourceBusy) { try region.release(handle) }
    handle.close()
    #expect(try word() == 0 && users == [0, 0])
    #expect(try region.sealedMemory().window.word(at: 0x2000).load() == 0x7372_6966)
    engine.shutDown()
  }

  @Test func `What cannot be revoked while the mount ends is brought back then`() throws {
    try claim(for: handle)
    try write("first")
    kernel.setTakesSizes(false)
    let (engine, region) = (engine, region)
    let end = Lock<Call?>(nil)
    kernel.onSynchronize { [kernel] in
      kernel.onSynchronize(nil)
      let call = try? Call { engine.endPermissions() }
      end.withLock { $0 = call }
      // What no event tells of.
      let deadline = MonotonicInstant.after(seconds: Fixture.seconds)
      while !region.permissions.withLock({ $0.isClosed }), MonotonicInstant.now < deadline {}
    }
    #expect(throws: Errno.resourceBusy) { try region.release(handle) }
    try #require(end.withLock { $0 }).wait()
    #expect(try word() == 0 && region.permissionCount == 0)
    #expect(try region.sealedMemory().window.word(at: 0x2000).load() == 0x7372_6966)
    handle.close()
    engine.shutDown()
  }

  @Test func `A claim whose size is not taken leaves nothing`() throws {
    try region.write(Array("there".utf8), at: 0x2000)
    kernel.setTakesSizes(false)
    #expect(throws: Errno.wouldBlock) { try claim(for: handle) }
    #expect(handle.permission == nil && handle.size == 0)
    #expect(try word() == 0 && users == [1, 0])
    #expect(try handle.file.descriptor.status().size == 0)
    #expect(try region.sealedMemory().window.word(at: 0x2000).load() == 0x7265_6874)
    kernel.setTakesSizes(true)
    try claim(for: handle)
    #expect(try text == "there")
    handle.close()
    #expect(log.lines.withLock { $0 } == [])
    engine.shutDown()
  }

  /// The words of an area that is a manager's: what is changed while the rest is brought back.
  @Test func `Owner words that change while an area goes back go with it`() throws {
    var configuration = try Fixture.configuration("leaf")
    configuration.managedBy = region.name
    let leaf = try engine.create(configuration)
    kernel.setHasPages()
    try claim(for: handle)
    let leafHandle = try AreaHandle(of: leaf, place: AreaHandle.noPlace, isBacking: false)
    let region = region
    // Just after the file had all.
    kernel.onSynchronize { [kernel] in
      kernel.onSynchronize(nil)
      try? leaf.claim(
        Permission(beginOffset: 0x2000, endOffset: 0x3000, ownerOffset: 0x3000, ownedValue: 9),
        for: leafHandle, managedBy: region, by: Claimant(process: 1, name: "test"))
    }
    try region.release(handle)
    #expect(leafHandle.permission != nil)
    #expect(try region.sealedMemory().window.word(at: 0x3000).load() == 9)
    leafHandle.close()
    #expect(try region.sealedMemory().window.word(at: 0x3000).load() == 0)
    handle.close()
    #expect(log.lines.withLock { $0 } == [])
    engine.shutDown()
  }
}

extension Region {
  fileprivate func write(_ bytes: [UInt8], at offset: UInt64) throws {
    try unsafe bytes.withUnsafeBytes { try unsafe write($0, at: offset) }
  }
}
