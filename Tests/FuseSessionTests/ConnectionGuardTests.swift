// SPDX-License-Identifier: Apache-2.0

import CFuseIO
import CLinux
import CMountTesting
import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing

@testable import FuseSession

/// The guard as the program, with a pipe for the file that aborts a connection.
@Suite struct ConnectionGuardTests {
  @Test func `does nothing when the daemon ends as it should`() throws {
    let lifeline = try Lifeline()
    let line = try LifelineMemory(lifeline)
    let process = try GuardProcess(lifeline: line.descriptor)
    #expect(line.isWaitedFor(), "the guard does not wait")
    lifeline.letGo()
    #expect(process.rest() == "")
    #expect(process.exitStatus() == 0)
  }

  @Test func `aborts when the daemon is killed`() throws {
    let line = try LifelineMemory()
    let holder = try LifelineHolder(of: line)
    let process = try GuardProcess(lifeline: line.descriptor)
    #expect(line.isWaitedFor(), "the guard does not wait")
    holder.kill()
    #expect(process.rest() == "1")
    #expect(process.exitStatus() == 0)
  }

  @Test func `aborts when the daemon was killed before`() throws {
    let line = try LifelineMemory()
    try LifelineHolder(of: line).kill()
    let process = try GuardProcess(lifeline: line.descriptor)
    #expect(process.rest() == "1")
    #expect(process.exitStatus() == 0)
  }

  @Test func `outlives what ends a service`() throws {
    let line = try LifelineMemory()
    let holder = try LifelineHolder(of: line)
    let process = try GuardProcess(lifeline: line.descriptor)
    #expect(line.isWaitedFor(), "the guard does not wait")
    for number in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] { kill(process.pid, number) }
    holder.kill()
    #expect(process.rest() == "1")
  }

  @Test func `needs a lifeline`() throws {
    let file = try FileDescriptor.open(FilePath("/dev/null"), .readOnly)
    defer { try? file.close() }
    let process = try GuardProcess(lifeline: file.rawValue)
    #expect(process.rest() == "")
    #expect(process.exitStatus() == 1)
  }

  @Test func `needs a mount`() throws {
    let session = try Session(TinyFileSystem(), options: [], wantsPassthrough: false, ended: {})
    let rooms = try SharedRooms(1, for: session)
    #expect(throws: Errno.noSuchFileOrDirectory) {
      _ = try ConnectionGuard(
        mountPoint: "/nonexistent", session: session, rooms: rooms, log: CollectedLog().logger)
    }
  }
}

/// What a guard does for a daemon that is about to end, with the test in the place of the kernel.
@Suite final class LastPagesTests {
  private let wire: FuseWire
  private let line: LifelineMemory
  private let holder: LifelineHolder
  /// The daemon's other threads, which take longer.
  private let rest: LifelineHolder
  /// What they read requests from.
  private let connection: Descriptor
  /// What they read requests into.
  private let rooms: Descriptor
  private let process: GuardProcess

  private let roomCount = 4
  private let roomSize = vsocfs_fuse_room_size(GuardProcess.payload)

  init() throws {
    wire = try FuseWire()
    connection = wire.takeDaemonEnd()
    rooms = try SharedMemoryFile(name: "rooms", size: roomCount * roomSize).takeDescriptor()
    line = try LifelineMemory()
    holder = try LifelineHolder(of: line)
    rest = try LifelineHolder(of: LifelineMemory())
    process = try GuardProcess(
      lifeline: line.descriptor, daemon: rest.pid, connection: connection.raw, rooms: rooms.raw,
      roomCount: roomCount)
  }

  /// A file of two pages and a half, with a byte in all of them.
  private func file(_ byte: UInt8) throws -> Descriptor {
    let file = try SharedMemoryFile(name: "pages", size: size).takeDescriptor()
    try file.write([UInt8](repeating: byte, count: size), at: 0)
    return file
  }
  private let size = 10240

  /// The kernel's handle of a file that has this descriptor in the daemon.
  private func handle(_ number: Int32) -> FuseHandle {
    .invented(vsocfs_fuse_paged_handle(77, number))
  }

  /// Takes the next request, as a thread of the daemon does.
  private func take(intoRoom index: Int) throws {
    var bytes = [UInt8](repeating: 0, count: GuardProcess.payload)
    #expect(mt_readable(connection.raw, deadline) == 1)
    let count = unsafe read(connection.raw, &bytes, bytes.count)
    try rooms.write(Array(bytes.prefix(max(count, 0))), at: UInt64(index * roomSize))
  }

  /// - Parameter isKernel: as far as it goes; a socket does not say that a request was answered before.
  private func expectEnd(isKernel: Bool = true) {
    rest.kill()
    #expect(process.rest() == "", "it aborted")
    #expect(process.exitStatus() == 0)
    if isKernel { #expect(wire.violations == []) }
  }

  @Test func `pages are read and written until the daemon has gone`() throws {
    let file = try file(1)
    process.send(1234, copy: file)
    holder.kill()
    let handle = handle(1234)
    #expect(try wire.read(handle, size: 8192) == [UInt8](repeating: 1, count: 8192))
    #expect(try wire.read(handle, size: 8192, offset: 8192).count == 2048)
    #expect(try wire.write(handle, [UInt8](repeating: 2, count: 4096), offset: 4096) == 4096)
    #expect(try wire.write(handle, [UInt8](repeating: 3, count: 4096), offset: 8192) == 2048)
    #expect(throws: Errno.notPermitted) { try wire.write(handle, [4], offset: 10240) }
    #expect(
      try file.read(size + 1, at: 0) == [UInt8](repeating: 1, count: 4096)
        + [UInt8](repeating: 2, count: 4096) + [UInt8](repeating: 3, count: 2048))
    expectEnd()
  }

  @Test func `all else is refused`() throws {
    holder.kill()
    #expect(throws: Errno.badFileDescriptor) { try wire.write(handle(5), [1]) }
    #expect(throws: Errno.socketNotConnected) { try wire.read(.invented(5)) }
    #expect(throws: Errno.socketNotConnected) { try wire.lookup("demo") }
    #expect(throws: Errno.socketNotConnected) { try wire.attributes(of: 1) }
    try wire.forget(1)
    try wire.batchForget([(node: 1, lookups: 1)])
    #expect(throws: Errno.socketNotConnected) { try wire.release(.invented(5)) }
    expectEnd()
  }

  @Test func `the last copy counts`() throws {
    let one = try file(1)
    let two = try file(2)
    process.send(7, copy: one)
    process.send(7, copy: two)
    process.send(8, copy: one)
    process.take(back: 8)
    process.send(9, copy: two)
    process.take(back: 9)
    process.send(9, copy: one)
    holder.kill()
    #expect(try wire.read(handle(7), size: 1) == [2])
    #expect(throws: Errno.badFileDescriptor) { try wire.read(handle(8), size: 1) }
    #expect(try wire.read(handle(9), size: 1) == [1])
    expectEnd()
  }

  @Test func `copies are taken in all the time`() throws {
    let file = try file(1)
    for number in Int32(0)..<3000 {
      process.send(number, copy: file)
      if number >= 10 { process.take(back: number - 10) }
    }
    holder.kill()
    #expect(try wire.read(handle(2999), size: 1) == [1])
    #expect(throws: Errno.badFileDescriptor) { try wire.read(handle(2989), size: 1) }
    expectEnd()
  }

  @Test func `what waits is answered when the daemon has gone already`() throws {
    let file = try file(1)
    process.send(3, copy: file)
    let tickets = try (0..<20).map { _ in try wire.beginWrite(handle(3), [5], offset: 0) }
    rest.kill()
    holder.kill()
    for ticket in tickets { #expect(try wire.written(by: ticket) == 1) }
    expectEnd()
  }

  @Test func `what dead threads had taken is answered`() throws {
    let file = try file(1)
    process.send(3, copy: file)
    let write = try wire.beginWrite(handle(3), [UInt8](repeating: 5, count: 4096), offset: 4096)
    try take(intoRoom: 0)
    let read = try wire.beginRead(handle(3), size: 1)
    try take(intoRoom: roomCount - 1)
    let lookup = try wire.send(.lookup, node: 1, body: Array("demo\0".utf8))
    try take(intoRoom: 1)
    holder.kill()
    #expect(try wire.written(by: write) == 4096)
    #expect(try wire.reply(to: read) == [1])
    #expect(throws: Errno.socketNotConnected) { try wire.reply(to: lookup) }
    #expect(try file.read(8192, at: 4096).prefix(4097) == [UInt8](repeating: 5, count: 4096) + [1])
    expectEnd(isKernel: false)
  }

  @Test func `a thread may take a request when it is dead already`() throws {
    let file = try file(1)
    process.send(3, copy: file)
    let ticket = try wire.beginWrite(handle(3), [7])
    try take(intoRoom: 2)
    let request = try rooms.read(roomSize, at: UInt64(2 * roomSize))
    try rooms.write([0, 0, 0, 0], at: UInt64(2 * roomSize))
    holder.kill()
    #expect(try wire.read(handle(3), size: 1) == [1])
    try rooms.write(request, at: UInt64(2 * roomSize))
    #expect(try wire.written(by: ticket) == 1)
    #expect(try file.read(2, at: 0) == [7, 1])
    expectEnd(isKernel: false)
  }

  @Test func `a daemon that does not go is not waited for`() throws {
    holder.kill()
    #expect(process.rest() == "1")
    #expect(process.exitStatus() == 0)
    rest.kill()
  }

  @Test func `a guard that has not been told everything aborts`() throws {
    #expect(line.isWaitedFor(), "the guard does not wait")
    let ticket = try wire.beginRead(handle(1))
    kill(process.pid, vsocfs_guard_lost_signal())
    holder.kill()
    #expect(process.rest() == "1")
    #expect(wire.isUnanswered(ticket, after: 0))
    rest.kill()
  }
}

private let deadline: Int32 = 10_000

/// The program as a guard; killed if it does not end.
private final class GuardProcess {
  let pid: Int32
  private let reading: Descriptor
  private let copies: Descriptor
  private var hasEnded = false

  static let payload = 128 << 10

  /// - Parameter daemon: this process, if it is not said otherwise.
  init(
    lifeline: Int32, daemon: Int32 = getpid(), connection: Int32? = nil, rooms: Int32? = nil,
    roomCount: Int = 0
  ) throws {
    var ends: [Int32] = [-1, -1]
    try #require(unsafe mt_pipe(&ends) >= 0)
    reading = Descriptor(owning: ends[0])
    let writing = Descriptor(owning: ends[1])
    try check { unsafe vsocfs_packet_pair(&ends) }
    copies = Descriptor(owning: ends[0])
    let receiving = Descriptor(owning: ends[1])
    let process = Descriptor(owning: try check { vsocfs_pidfd_open(daemon) })
    pid = try ConnectionGuard.spawn(
      BuildDirectory.path + "/vsocfs", mountPoint: "/nonexistent", device: 1,
      payload: Self.payload, roomCount: roomCount, lifeline: lifeline, process: process.raw,
      connection: connection, abort: writing.raw, copies: receiving.raw, rooms: rooms)
  }

  deinit {
    guard !hasEnded else { return }
    kill(pid, SIGKILL)
    _ = exitStatus()
  }

  /// As the daemon does with a descriptor of that number, or when it is about to close it.
  func send(_ number: Int32, copy: borrowing Descriptor) {
    send(number, copy.raw)
  }
  func take(back number: Int32) {
    send(number, -1)
  }

  private func send(_ number: Int32, _ copy: Int32) {
    var result = vsocfs_send_numbered(copies.raw, number, copy)
    for _ in 0..<deadline where result == -EAGAIN {
      mt_sleep(1)
      result = vsocfs_send_numbered(copies.raw, number, copy)
    }
    #expect(result == 0)
  }

  /// What it writes until its end; nil at the deadline.
  func rest() -> String? {
    var text = ""
    while mt_readable(reading.raw, deadline) == 1 {
      var byte: UInt8 = 0
      guard unsafe read(reading.raw, &byte, 1) == 1 else { return text }
      text.unicodeScalars.append(Unicode.Scalar(byte))
    }
    return nil
  }

  func exitStatus() -> Int32? {
    var status: Int32 = 0
    guard unsafe mt_wait(pid, deadline, &status) == 1 else { return nil }
    hasEnded = true
    return mt_exit_status(status)
  }
}
