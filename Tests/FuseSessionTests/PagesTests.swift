// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing

@testable import FuseSession

/// Files whose pages are those of a descriptor, and the agreement on how much a request carries.
@Suite final class PagesTests {
  private static let seconds = 20.0
  /// No whole number of pages, and more than a request carries.
  private static let size = 1 << 20 | 1234

  private let file: SharedMemoryFile
  private let fileSystem: TinyFileSystem
  private let wire: FuseWire
  private let session: Session
  private let ends = Monitor(0)

  init() throws {
    file = try SharedMemoryFile(name: "vsocfs-test", size: Self.size)
    fileSystem = TinyFileSystem(pages: file.descriptor.raw)
    wire = try FuseWire()
    session = try Session(
      fileSystem, options: [], wantsPassthrough: true,
      ended: { [ends] in ends.withLock { $0 += 1 } })
    try session.attach(wire.takeDaemonEnd().release())
  }

  /// Negotiates with the kernel that `body` plays, in a thread of its own as it waits.
  private func negotiate(_ body: () throws -> Void) throws -> Result<Void, any Error>? {
    let outcome = Monitor(Result<Void, any Error>?.none)
    try Thread.start(name: "daemon") { [session] in
      let result = Result { try session.negotiate() }
      outcome.withLock { $0 = result }
    }
    try body()
    return outcome.wait(until: .after(seconds: Self.seconds)) { $0 }
  }

  private func start(offeringPassthrough: Bool = false) throws -> FuseInitReply {
    var reply: FuseInitReply?
    let result = try negotiate {
      reply = try wire.initialize(offeringPassthrough: offeringPassthrough)
    }
    try #require(result).get()
    try session.start(.listening(try SharedRooms(3, for: session)))
    return try #require(reply)
  }

  private func open() throws -> FuseHandle { try wire.open(TinyFileSystem.pagedNode) }

  private func close() {
    wire.close()
    let isOver = ends.wait(until: .after(seconds: Self.seconds)) { $0 > 0 ? true : nil }
    #expect(isOver == true)
    #expect(ends.withLock { $0 } == 1)
    #expect(wire.violations == [])
    #expect(wire.outstandingCount == 0)
  }

  /// What is in the file, read past the daemon.
  private func stored(_ count: Int, at offset: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let length = unsafe pread(file.descriptor.raw, &bytes, count, offset)
    return Array(bytes.prefix(max(length, 0)))
  }

  private func fill() throws -> [UInt8] {
    let bytes = (0..<Self.size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    let length = unsafe pwrite(file.descriptor.raw, bytes, bytes.count, 0)
    try #require(length == bytes.count)
    return bytes
  }

  // MARK: INIT

  @Test func `INIT is answered before any thread is there`() throws {
    let reply = try start()
    #expect(reply.major == 7)
    #expect(!reply.wantsPassthrough && !session.hasPassthrough)
    // FUSE_AUTO_INVAL_DATA: pages are memory, which no time makes stale.
    #expect(reply.flags & 1 << 12 == 0)
    close()
  }

  @Test func `A request before INIT is refused, and INIT still waited for`() throws {
    let result = try negotiate {
      #expect(throws: Errno.ioError) { try wire.lookup("x") }
      #expect(throws: Errno.ioError) { try wire.attributes(of: 1) }
      _ = try wire.initialize()
    }
    try #require(result).get()
    #expect(session.hasPassthrough)
    try session.start(.listening(try SharedRooms(2, for: session)))
    _ = try wire.lookup("x")
    close()
  }

  @Test(arguments: [true, false])
  func `A newer kernel asks again, and that is what is agreed on`(isOffered: Bool) throws {
    let result = try negotiate {
      var body = WireWriter()
      body.append(8, 0, 128 << 10, .max, .max)
      body.append([UInt8](repeating: 0, count: 44))
      let reply = try wire.reply(to: wire.send(.initialize, node: 0, body: body.bytes))
      #expect(Array(reply.prefix(4)) == [7, 0, 0, 0])
      #expect(!session.hasPassthrough)
      #expect(
        try wire.initialize(offeringPassthrough: isOffered).wantsPassthrough == isOffered)
    }
    try #require(result).get()
    #expect(session.hasPassthrough == isOffered)
    try session.start(.listening(try SharedRooms(2, for: session)))
    _ = try wire.lookup("x")
    close()
  }

  @Test func `A connection that ends before INIT is an error`() throws {
    let result = try #require(try negotiate { wire.close() })
    #expect(throws: Errno.brokenPipe) { try result.get() }
  }

  @Test(arguments: [(false, 128 << 10), (true, 1 << 20)])
  func `A request carries as much as was agreed on`(isOffered: Bool, payload: Int) throws {
    #expect(try start(offeringPassthrough: isOffered).maxWrite == payload)
    let bytes = try fill()
    let handle = try open()
    #expect(try wire.read(handle, size: payload, offset: 3) == Array(bytes[3..<payload + 3]))
    // A kernel does not ask for more: not beyond the room that there is.
    #expect(try wire.read(handle, size: 2 << 20) == Array(bytes[..<payload]))
    let new = [UInt8](bytes[..<payload].reversed())
    #expect(try wire.write(handle, new, offset: 1) == payload)
    #expect(stored(payload, at: 1) == new)
    // The same for what does not go to the pages.
    #expect(try wire.write(.invented(9), new) == payload)
    #expect(fileSystem.seen.withLock { $0.written } == new)
    close()
  }

  // MARK: Handles

  @Test func `The file system is told the number that it gave`() throws {
    _ = try start()
    let handle = try open()
    #expect(handle.opened.flags == FuseABI.openKeepCache | FuseABI.openNoFlush)
    let expected = 1 << 63 | UInt64(file.descriptor.raw) << 40 | TinyFileSystem.pagedHandle
    #expect(handle.opened.handle == expected)
    try wire.ioctl(handle, 0x7800)
    _ = try wire.poll(handle, pollHandle: 1)
    try wire.synchronize(handle)
    try wire.release(handle)
    let number = [TinyFileSystem.pagedHandle]
    // A release may be answered before it is carried out.
    _ = try fileSystem.wait { $0.released == number ? true : nil }
    fileSystem.seen.withLock { seen in
      #expect(seen.controlled == number)
      #expect(seen.polled == number)
      #expect(seen.synchronized == number)
      #expect(seen.released == number)
    }
    // Other numbers are as they are.
    try wire.release(.invented(0x7fff_ffff_ffff_ffff))
    _ = try fileSystem.wait { $0.released.last == 0x7fff_ffff_ffff_ffff ? true : nil }
    close()
  }

  @Test func `A descriptor that is not open is EBADF`() throws {
    _ = try start()
    let handle = FuseHandle.invented(1 << 63 | ((1 << 23) - 1) << 40 | 1)
    #expect(throws: Errno.badFileDescriptor) { try wire.read(handle) }
    #expect(throws: Errno.badFileDescriptor) { try wire.write(handle, [1]) }
    close()
  }

  @Test(arguments: [-1, 1 << 23])
  func `A descriptor that cannot be told of is an error of the open`(
    number: Int32
  ) throws {
    let wire = try FuseWire()
    let ends = Monitor(0)
    let session = try Session(
      TinyFileSystem(pages: number), options: [], wantsPassthrough: false,
      ended: { ends.withLock { $0 += 1 } })
    try session.attach(wire.takeDaemonEnd().release())
    try session.start(.adaptive(WorkerPoolSize(minimum: 1, maximum: 1)))
    _ = try wire.initialize()
    #expect(throws: Errno.tooManyOpenFilesInSystem) { try wire.open(TinyFileSystem.pagedNode) }
    wire.close()
    let isOver = ends.wait(until: .after(seconds: Self.seconds)) { $0 == 1 ? true : nil }
    #expect(isOver == true)
  }

  // MARK: Reading

  @Test func `A read gives what there is up to the end`() throws {
    _ = try start()
    let bytes = try fill()
    let handle = try open()
    for (offset, size) in [
      (0, 0), (0, 1), (0, 4096), (1, 4096), (4095, 2), (100_000, 128 << 10),
      (Self.size - 4096, 4096), (Self.size - 1, 1), (Self.size - 1, 2), (Self.size - 10, 4096),
      (Self.size - 100_000, 128 << 10), (Self.size, 1), (Self.size + 1, 4096),
    ] {
      let expected = bytes.dropFirst(offset).prefix(size)
      #expect(
        try wire.read(handle, size: size, offset: UInt64(offset)) == Array(expected),
        "\(size) at \(offset)")
    }
    for offset in [1 << 32, 1 << 63, .max - 4095, .max] as [UInt64] {
      #expect(try wire.read(handle, size: 4096, offset: offset) == [])
    }
    #expect(try wire.read(handle, size: Int(UInt32.max), offset: UInt64(Self.size) - 3).count == 3)
    close()
  }

  // MARK: Writing

  @Test func `A write inside is stored as a whole`() throws {
    _ = try start()
    var bytes = try fill()
    let handle = try open()
    for (offset, count) in [(0, 1), (1, 4096), (4095, 2), (5, 0), (Self.size - 7, 7)] {
      let new = [UInt8](repeating: 0xee, count: count)
      #expect(try wire.write(handle, new, offset: UInt64(offset)) == count)
      bytes.replaceSubrange(offset..<offset + count, with: new)
    }
    #expect(stored(Self.size, at: 0) == bytes)
    close()
  }

  /// After one that failed, the kernel takes the page for not up to date.
  @Test func `A write across the end stores what is before it`() throws {
    _ = try start()
    let handle = try open()
    for count in [1, 10, 4095] {
      let new = [UInt8](repeating: UInt8(count & 0xff), count: 4096)
      #expect(try wire.write(handle, new, offset: UInt64(Self.size - count)) == count)
      #expect(stored(8192, at: Self.size - count) == Array(new[..<count]))
    }
    close()
  }

  @Test func `A write at the end or beyond is refused`() throws {
    _ = try start()
    let handle = try open()
    let size = UInt64(Self.size)
    for offset in [size, size + 1, 1 << 32, 1 << 63, .max - 4095, .max] {
      #expect(throws: Errno.notPermitted) {
        try wire.write(handle, [UInt8](repeating: 1, count: 4096), offset: offset)
      }
    }
    #expect(try wire.write(handle, [UInt8](), offset: size) == 0)
    #expect(stored(8192, at: Self.size).isEmpty)
    close()
  }

  @Test(arguments: [1, 4097, 128 << 10, .max] as [UInt32])
  func `A write that states more than it carries stores nothing`(excess: UInt32) throws {
    _ = try start()
    let before = try fill()
    let handle = try open()
    var body = WireWriter()
    body.append64(handle.opened.handle, 0)
    body.append(excess == .max ? .max : 100 + excess, 0)
    body.append64(0)
    body.append(0, 0)
    body.append([UInt8](repeating: 0xee, count: 100))
    let ticket = try wire.send(.write, node: handle.node, body: body.bytes)
    #expect(throws: Errno.ioError) { try wire.reply(to: ticket) }
    #expect(stored(Self.size, at: 0) == before)
    close()
  }

  @Test func `Reads and writes that are cut off do not reach the pages`() throws {
    _ = try start()
    let before = try fill()
    let handle = try open()
    var body = WireWriter()
    body.append64(handle.opened.handle, 0)
    body.append(4096)
    for operation in [FuseABI.Operation.read, .write] {
      // Whatever becomes of it, there is one answer.
      let ticket = try wire.send(operation, node: handle.node, body: body.bytes)
      #expect(!wire.isUnanswered(ticket, after: Self.seconds))
    }
    #expect(stored(Self.size, at: 0) == before)
    close()
  }
}
