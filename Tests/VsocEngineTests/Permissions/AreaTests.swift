// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocProtocol

@testable import VsocEngine

/// Claims and releases without a file system: what handles reach, and what becomes of the words.
@Suite struct AreaTests {
  private let engine: Engine
  private let manager: Region
  private let region: Region
  private let log = CollectedLog()

  init() throws {
    engine = try Engine(log: log.logger)
    manager = try engine.create(Fixture.configuration("owner"))
    var configuration = try Fixture.configuration("area")
    configuration.managedBy = manager.name
    region = try engine.create(configuration)
  }

  private static let claimant = Claimant(process: 1, name: "test")

  private func handle() throws -> AreaHandle {
    try AreaHandle(of: region, place: AreaHandle.noPlace, isBacking: true)
  }

  private func permission(
    _ pages: Range<UInt32> = 2..<4, word: UInt32 = 0x2000, value: UInt32 = 7
  ) -> Permission {
    Permission(
      beginOffset: pages.lowerBound * 4096, endOffset: pages.upperBound * 4096,
      ownerOffset: word, ownedValue: value)
  }

  private func claim(_ permission: Permission, for handle: AreaHandle) throws(Errno) {
    try region.claim(permission, for: handle, managedBy: manager, by: Self.claimant)
  }

  private func word(_ offset: UInt32 = 0x2000) throws -> SharedWord {
    try manager.sealedMemory().window.word(at: offset)
  }

  private func write(_ text: String, to handle: AreaHandle, at offset: UInt64) throws {
    var text = text
    try text.withUTF8 { try unsafe handle.write(UnsafeRawBufferPointer($0), at: offset) }
  }

  private func read(_ handle: AreaHandle, _ count: Int, at offset: UInt64) throws -> String {
    String(decoding: try handle.read(at: offset, size: count), as: UTF8.self)
  }

  /// A mapping of the area as the kernel makes it for clients: of a file that is opened once more.
  private func clientMapping(_ handle: AreaHandle) throws -> SharedMapping {
    let file = try handle.file.descriptor.reopen(forWriting: true)
    return try SharedMapping(descriptor: file.raw, size: 8192)
  }

  private func eventually(_ condition: () throws -> Bool) throws {
    let deadline = MonotonicInstant.after(seconds: Fixture.seconds)
    while try !condition() { try #require(MonotonicInstant.now < deadline) }
  }

  private var users: [Int] { [region, manager].map { $0.life.withLock { $0.users } } }

  // MARK: What a handle reaches

  @Test func `Nothing without a permission, then the area, and nothing again`() throws {
    let handle = try handle()
    #expect(handle.size == 0 && handle.permission == nil)
    #expect(try read(handle, 10, at: 0) == "")
    #expect(throws: Errno.notPermitted) { try write("x", to: handle, at: 0) }
    #expect(throws: Errno.notPermitted) { try write("", to: handle, at: 0) }
    try claim(permission(), for: handle)
    #expect(handle.size == 8192 && handle.permission == permission())
    #expect(try word().load() == 7)
    try write("begin", to: handle, at: 0)
    try write("end", to: handle, at: 8189)
    #expect(throws: Errno.notPermitted) { try write("ends", to: handle, at: 8189) }
    #expect(throws: Errno.notPermitted) { try write("x", to: handle, at: 8192) }
    #expect(throws: Errno.notPermitted) { try write("x", to: handle, at: .max) }
    #expect(try read(handle, 100, at: 8189) == "end")
    #expect(try read(handle, 100, at: 8192) == "" && read(handle, 100, at: .max) == "")
    try region.release(handle)
    #expect(try word().load() == 0)
    #expect(handle.size == 0 && handle.permission == nil)
    #expect(try read(handle, 10, at: 0) == "")
    #expect(throws: Errno.notPermitted) { try write("x", to: handle, at: 0) }
    #expect(throws: Errno.noSuchFileOrDirectory) { try region.release(handle) }
    #expect(users == [1, 0])
    handle.close()
    #expect(users == [0, 0])
    engine.shutDown()
  }

  @Test func `Contents go from owner to owner, whatever their areas`() throws {
    let first = try handle()
    try claim(permission(2..<6), for: first)
    for page in 0..<4 { try write("page\(page)", to: first, at: UInt64(page) * 4096) }
    first.close()
    let (second, third) = (try handle(), try handle())
    try claim(permission(3..<5, word: 0x2004), for: second)
    #expect(try read(second, 5, at: 0) == "page1" && read(second, 5, at: 4096) == "page2")
    try claim(permission(5..<9, word: 0x2008), for: third)
    #expect(try read(third, 5, at: 0) == "page3" && read(third, 5, at: 4096) == "\0\0\0\0\0")
    try write("other", to: second, at: 4096)
    try region.release(second)
    try region.release(third)
    // The same handle may claim again.
    try claim(permission(2..<6), for: second)
    let texts = try (0..<4).map { try read(second, 5, at: UInt64($0) * 4096) }
    #expect(texts == ["page0", "page1", "other", "page3"])
    second.close()
    third.close()
    engine.shutDown()
  }

  @Test func `Areas are shown to the engine as their holders have them`() throws {
    let handle = try handle()
    try claim(permission(), for: handle)
    let mapping = try clientMapping(handle)
    let view = try region.sealedMemory().window.word(at: 0x3000)
    try write("\u{1}\0\0\0", to: handle, at: 0x1000)
    #expect(view.load() == 1)
    unsafe mapping.base.storeBytes(of: 5, toByteOffset: 0x1000, as: UInt32.self)
    #expect(view.load() == 5)
    try region.release(handle)
    #expect(view.load() == 5)
    handle.close()
    engine.shutDown()
  }

  // MARK: Who gets it

  @Test func `A word or an area that is taken is EAGAIN, and nothing changes`() throws {
    let (one, other) = (try handle(), try handle())
    try claim(permission(2..<4), for: one)
    #expect(throws: Errno.fileExists) { try claim(permission(8..<9, word: 0x2010), for: one) }
    #expect(throws: Errno.wouldBlock) { try claim(permission(3..<5, word: 0x2004), for: other) }
    #expect(throws: Errno.wouldBlock) { try claim(permission(5..<6, word: 0x2000), for: other) }
    try word(0x2008).store(99)
    #expect(throws: Errno.wouldBlock) { try claim(permission(5..<6, word: 0x2008), for: other) }
    #expect(try [0x2000, 0x2004, 0x2008].map { try word($0).load() } == [7, 0, 99])
    #expect(region.permissionCount == 1 && other.permission == nil)
    #expect(users == [2, 1])
    // EEXIST comes before everything else, EPERM before what is wrong with the numbers.
    #expect(throws: Errno.fileExists) {
      try region.claim(permission(9..<9), for: one, managedBy: region, by: Self.claimant)
    }
    #expect(throws: Errno.notPermitted) {
      try region.claim(permission(9..<9), for: other, managedBy: region, by: Self.claimant)
    }
    #expect(throws: Errno.invalidArgument) { try claim(permission(9..<9), for: other) }
    one.close()
    try claim(permission(3..<5, word: 0x2000), for: other)
    other.close()
    #expect(log.lines.withLock { $0 } == [])
    engine.shutDown()
  }

  @Test func `Of many that claim at once one wins`() throws {
    for round in 0..<50 {
      let handles = try (0..<8).map { _ in try handle() }
      let wins = Monitor(0)
      let calls = try handles.enumerated().map { index, handle in
        try Call {
          do throws(Errno) {
            try claim(permission(value: UInt32(index) + 1), for: handle)
            wins.withLock { $0 += 1 }
          } catch .wouldBlock {
          }
        }
      }
      for call in calls { try call.wait() }
      #expect(wins.withLock { $0 } == 1, "round \(round)")
      let winner = try #require(handles.firstIndex { $0.permission != nil })
      #expect(try word().load() == UInt32(winner) + 1)
      for handle in handles { handle.close() }
      #expect(try word().load() == 0)
    }
    #expect(users == [0, 0])
    engine.shutDown()
  }

  /// The handle may be closed by one thread while another claims for it by way of the manager.
  @Test func `A claim for a handle that is being closed leaves nothing`() throws {
    for _ in 0..<200 {
      let handle = try handle()
      let call = try Call {
        do throws(Errno) {
          try claim(permission(), for: handle)
        } catch .notPermitted {
        }
      }
      handle.close()
      try call.wait()
      #expect(try word().load() == 0)
      #expect(region.permissionCount == 0)
    }
    #expect(users == [0, 0])
    engine.shutDown()
  }

  // MARK: The end

  @Test func `An owner word that was changed is told, and freed`() throws {
    let handle = try handle()
    try claim(permission(), for: handle)
    try word().store(8)
    handle.close()
    #expect(try word().load() == 0)
    #expect(
      log.lines.withLock { $0 } == [#"owner word 8192 of region "owner" held 8, not 7"#])
    engine.shutDown()
  }

  @Test func `A writable mapping keeps a closed handle's permission until it is gone`() throws {
    let handle = try handle()
    try claim(permission(), for: handle)
    var mapping: SharedMapping? = try clientMapping(handle)
    handle.close()
    #expect(try word().load() == 7)
    #expect(region.permissionCount == 1 && users == [1, 1])
    let next = try self.handle()
    #expect(throws: Errno.wouldBlock) { try claim(permission(), for: next) }
    unsafe mapping!.base.storeBytes(of: 0x6f6c_6c65_68, as: UInt64.self)
    mapping = nil
    // Nobody asks: the end of the mapping is heard of.
    try eventually { try word().load() == 0 }
    try eventually { users == [1, 0] }
    try claim(permission(), for: next)
    #expect(try read(next, 5, at: 0) == "hello")
    next.close()
    #expect(users == [0, 0])
    engine.shutDown()
  }

  @Test func `Whoever may only read keeps nothing, and sees nothing of the next owner`() throws {
    let handle = try handle()
    try claim(permission(), for: handle)
    try write("old", to: handle, at: 0)
    let path = "/proc/self/fd/\(handle.file.descriptor.raw)"
    let file = try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
    let reader = unsafe mmap(nil, 8192, PROT_READ, MAP_SHARED, file.rawValue, 0)!
    try file.close()
    defer { _ = unsafe munmap(reader, 8192) }
    handle.close()
    #expect(try word().load() == 0)
    let next = try self.handle()
    try claim(permission(), for: next)
    try write("new", to: next, at: 0)
    #expect(unsafe reader.load(as: UInt8.self) == UInt8(ascii: "o"))
    next.close()
    engine.shutDown()
  }

  @Test func `Sleepers in an area end with it`() throws {
    let handle = try handle()
    try claim(permission(), for: handle)
    let outcome = Monitor(Result<UInt32, Abandonment>?.none)
    let wait = CondWait(
      region, end: .guest, offset: 0x3000, value: 0, deadline: nil, wakes: 0
    ) { wakes, reason in
      outcome.withLock { $0 = reason.map { .failure($0) } ?? .success(wakes) }
    }
    wait.register()
    wait.begin()
    try region.release(handle)
    #expect(outcome.withLock { $0 } == .failure(.gone))
    handle.close()
    engine.shutDown()
  }

  /// The word that sleepers had before is slept on in another file now.
  @Test func `Futex wakes from an area's mapping are heard, also after others had it`() throws {
    for _ in 0..<20 {
      let handle = try handle()
      try claim(permission(), for: handle)
      let mapping = try clientMapping(handle)
      let outcome = Monitor(UInt32?.none)
      let wait = CondWait(
        region, end: .guest, offset: 0x3000, value: 0, deadline: nil, wakes: 0
      ) { wakes, _ in outcome.withLock { $0 = wakes } }
      wait.register()
      wait.begin()
      let window = unsafe RegionWindow(base: mapping.base, size: 8192)
      let word = try window.word(at: 0x1000)
      word.store(1)
      unsafe Futex.wakeAll(word.address)
      let wakes = outcome.wait(until: .after(seconds: Fixture.seconds)) { $0 }
      #expect(wakes != nil)
      word.store(0)
      try region.release(handle)
      handle.close()
    }
    engine.shutDown()
  }

  @Test func `At the end of the engine everything is brought back, and nothing can be had`() throws
  {
    let (one, other) = (try handle(), try handle())
    try claim(permission(), for: one)
    try write("kept", to: one, at: 0)
    let mapping = try clientMapping(one)
    engine.endPermissions()
    #expect(try word().load() == 0)
    #expect(try region.sealedMemory().window.word(at: 0x2000).load() == 0x7470_656b)
    #expect(throws: Errno.operationNotSupportedByDevice) { try claim(permission(), for: other) }
    one.close()
    other.close()
    withExtendedLifetime(mapping) {}
    engine.shutDown()
  }

  /// A managed region may manage another: its owner words are in an area, or not.
  @Test func `Owner words move with the area that they are in`() throws {
    var configuration = try Fixture.configuration("leaf")
    configuration.managedBy = region.name
    let leaf = try engine.create(configuration)
    let middle = try handle()
    let claimed = try AreaHandle(of: leaf, place: AreaHandle.noPlace, isBacking: true)
    let leafPermission = permission(word: 0x3000, value: 9)
    try leaf.claim(leafPermission, for: claimed, managedBy: region, by: Self.claimant)
    try claim(permission(), for: middle)
    #expect(try read(middle, 4, at: 0x1000) == "\u{9}\0\0\0")
    claimed.close()
    #expect(try read(middle, 4, at: 0x1000) == "\0\0\0\0")
    let next = try AreaHandle(of: leaf, place: AreaHandle.noPlace, isBacking: true)
    try leaf.claim(leafPermission, for: next, managedBy: region, by: Self.claimant)
    #expect(try read(middle, 4, at: 0x1000) == "\u{9}\0\0\0")
    middle.close()
    #expect(try word().load() == 0)
    #expect(try region.sealedMemory().window.word(at: 0x3000).load() == 9)
    next.close()
    #expect(try region.sealedMemory().window.word(at: 0x3000).load() == 0)
    #expect(log.lines.withLock { $0 } == [])
    engine.shutDown()
  }
}
