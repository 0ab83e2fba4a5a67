// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing

@testable import FuseSession

/// The libfuse wrapper alone, with a file system that does nothing.
@Suite struct SessionTests {
  private let fileSystem = TinyFileSystem()
  private let wire: FuseWire
  private let session: Session
  /// How often the session said that it has ended.
  private let ends = Monitor(0)

  init() throws {
    wire = try FuseWire()
    session = try Session(
      fileSystem, options: [], wantsPassthrough: true,
      ended: { [ends] in ends.withLock { $0 += 1 } })
    try session.attach(wire.takeDaemonEnd().release())
    try session.start(.adaptive(WorkerPoolSize(minimum: 3, maximum: 3)))
    _ = try wire.initialize()
  }

  /// Ends the connection, and waits until the workers have.
  private func close() {
    wire.close()
    let isOver = ends.wait(until: .after(seconds: 20)) { $0 > 0 ? true : nil }
    #expect(isOver == true)
    #expect(ends.withLock { $0 } == 1)
    #expect(wire.violations == [])
  }

  @Test func `A connection ends once, after all workers`() throws {
    #expect(session.hasPassthrough)
    close()
  }

  @Test func `A session that does not want passthrough does not ask for it`() throws {
    close()
    let other = try FuseWire()
    let plain = try Session(
      fileSystem, options: [], wantsPassthrough: false,
      ended: { [ends] in ends.withLock { $0 += 1 } })
    try plain.attach(other.takeDaemonEnd().release())
    try plain.start(.adaptive(WorkerPoolSize(minimum: 1, maximum: 1)))
    #expect(try !other.initialize().wantsPassthrough)
    #expect(!plain.hasPassthrough)
    other.close()
    let isOver = ends.wait(until: .after(seconds: 20)) { $0 == 2 ? true : nil }
    #expect(isOver == true)
  }

  @Test func `Mount options that there are none of are told in one line`() throws {
    let error = #expect(throws: SessionError.self) {
      try Session(fileSystem, options: ["nonsense"], wantsPassthrough: false, ended: {})
    }
    #expect(error?.description.contains("nonsense") == true)
    #expect(error?.description.contains("\n") == false)
    close()
  }

  @Test func `No read is asked for without a thread that waits for it`() throws {
    close()
    let other = try FuseWire()
    let plain = try Session(fileSystem, options: [], wantsPassthrough: false, ended: {})
    try plain.attach(other.takeDaemonEnd().release())
    try plain.start(.adaptive(WorkerPoolSize(minimum: 1, maximum: 1)))
    let asyncDIO: UInt32 = 1 << 15
    #expect(try other.initialize().flags & asyncDIO == 0)
    other.close()
  }

  @Test func `A read for the page cache is told from others`() throws {
    _ = try wire.read(.invented(1))
    _ = try wire.reply(to: wire.beginRead(.invented(1), isForPages: true))
    #expect(fileSystem.seen.withLock { $0.readsForPages } == [false, true])
    close()
  }

  // MARK: Requests

  @Test func `A request that is dropped is answered with EIO and logged`() throws {
    #expect(throws: Errno.ioError) { try wire.makeDirectory("x") }
    #expect(throws: Errno.ioError) { try wire.makeDirectory("y") }
    #expect(fileSystem.log.lines.withLock { $0.count } == 2)
    // An answered one is not.
    _ = try wire.lookup("z")
    #expect(fileSystem.log.lines.withLock { $0.count } == 2)
    close()
  }

  @Test func `A request is told who makes it`() throws {
    let caller = FuseWire.Caller(uid: 1, gid: 2, pid: 3)
    var body = WireWriter()
    body.append(0, 0)
    body.append64(0)
    let ticket = try wire.send(.getAttributes, node: 9, caller: caller, body: body.bytes)
    _ = try wire.reply(to: ticket)
    #expect(fileSystem.seen.withLock { $0.callers } == [Caller(uid: 1, gid: 2, pid: 3)])
    close()
  }

  @Test func `A request that a thread answers later is answered then`() throws {
    let ticket = try wire.beginRead(.invented(8))
    let box = try fileSystem.wait { $0.read }
    // Others do not wait for it.
    _ = try wire.lookup("x")
    #expect(wire.outstandingCount == 1)
    try answer(box, with: [5])
    #expect(try wire.reply(to: ticket) == [5])
    close()
  }

  private func answer(_ box: RequestBox<Answer.Bytes>, with bytes: [UInt8]) throws {
    guard let request = box.take() else { throw FuseWireFailure.malformed("answered") }
    request.reply(bytes)
  }

  @Test func `An open whose caller is gone says so`() throws {
    var body = WireWriter()
    body.append(UInt32(O_RDWR), 0)
    _ = try wire.send(.open, node: 3, body: body.bytes)
    let box = try fileSystem.wait { $0.opened }
    close()
    guard let request = box.take() else { return #expect(Bool(false), "no request") }
    // SIGPIPE is for the thread that writes, and a daemon's threads all block it.
    let wasDelivered = Monitor<Bool?>(nil)
    let parts = OneRequest(request)
    try Thread.start(name: "reply") {
      wasDelivered.withLock { $0 = parts.reply() }
    }
    let result = wasDelivered.wait(until: .after(seconds: 20)) { $0 }
    #expect(result == false)
  }

  private final class OneRequest: Sendable {
    private let box: RequestBox<Answer.Opened>

    init(_ request: consuming Request<Answer.Opened>) { box = RequestBox(request) }

    func reply() -> Bool? {
      guard let request = box.take() else { return nil }
      return request.reply(handle: 3, [])
    }
  }

  // MARK: Names

  @Test(arguments: [[0xff], [0x61, 0x80], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0xf8, 0x88]])
  func `A name that is no UTF-8 does not reach the file system`(name: [UInt8]) throws {
    var plain = WireWriter()
    plain.append(name + [0])
    for operation in [FuseABI.Operation.lookup, .removeDirectory] {
      let ticket = try wire.send(operation, node: 1, body: plain.bytes)
      #expect(throws: Errno.noSuchFileOrDirectory) { try wire.reply(to: ticket) }
    }
    var made = WireWriter()
    made.append(0o755, 0)
    made.append(name + [0])
    let ticket = try wire.send(.makeDirectory, node: 1, body: made.bytes)
    #expect(throws: Errno.invalidArgument) { try wire.reply(to: ticket) }
    #expect(fileSystem.seen.withLock { $0.names } == [])
    close()
  }

  @Test func `Any other name does, byte for byte`() throws {
    let names = ["a", "ä", "a\u{308}", "\u{1}", "🦊", String(repeating: "x", count: 255), ""]
    for name in names { _ = try wire.lookup(name) }
    let seen = fileSystem.seen.withLock { $0.names }
    #expect(seen.map { Array($0.utf8) } == names.map { Array($0.utf8) })
    close()
  }

  @Test func `Forgets are told one by one`() throws {
    try wire.forget(4, lookups: 2)
    try wire.batchForget([(5, 1), (6, .max), (5, 3)])
    // In no order: each may be another thread's.
    _ = try fileSystem.wait { $0.forgotten == [4: 2, 5: 4, 6: .max] ? true : nil }
    close()
  }

  @Test func `What is to be changed is told, and what is not is not`() throws {
    try wire.setAttributes(of: 1, size: .max, uid: 0)
    try wire.setAttributes(of: 1, mode: 0o100600, gid: .max)
    try wire.setAttributes(of: 1, touching: true)
    #expect(
      fileSystem.seen.withLock { $0.changes } == [
        AttributeChanges(uid: 0, size: .max), AttributeChanges(mode: 0o100600, gid: .max),
        AttributeChanges(),
      ])
    close()
  }

  // MARK: Replies

  @Test func `A directory's entries are those that fit`() throws {
    let handle = FuseHandle.invented(9)
    #expect(try wire.readDirectory(handle, size: 64).map(\.name) == ["a", "12345678"])
    #expect(try wire.readDirectory(handle, size: 63).map(\.name) == ["a"])
    #expect(try wire.readDirectory(handle, size: 32).map(\.nextOffset) == [1])
    #expect(try wire.readDirectory(handle, size: 31).isEmpty)
    #expect(try wire.readDirectory(handle, size: 0).isEmpty)
    #expect(try wire.readDirectory(handle, size: 1 << 20).map(\.inode) == [4, 5])
    close()
  }

  @Test func `An ioctl fails with an error and bytes`() throws {
    let handle = FuseHandle.invented(9)
    // _IOWR('x', 1, 8 bytes)
    let reply = try wire.ioctl(
      handle, 3 << 30 | 8 << 16 | 0x7801, argument: 0xffff_ffff_ffff, input: [1, 2, 3])
    #expect(reply.result == -EINVAL)
    #expect(reply.data == [1, 2, 3, 0, 0, 0, 0, 0])
    let command = try #require(fileSystem.seen.withLock { $0.commands.first })
    #expect(command.number == 3 << 30 | 8 << 16 | 0x7801)
    #expect(command.argument == 0xffff_ffff_ffff)
    #expect(command.outputSize == 8)
    close()
  }

  // MARK: Interrupts

  @Test func `An interrupt is told by the token, before or after it was asked for`() throws {
    for isFirst in [true, false] {
      fileSystem.seen.withLock {
        $0.read = nil
        $0.interrupts = []
      }
      let ticket: FuseWire.Ticket
      if isFirst {
        // Reported at once when it is there already.
        ticket = try wire.beginRead(.invented(8))
        let box = try fileSystem.wait { $0.read }
        guard let request = box.take() else { throw FuseWireFailure.timedOut }
        try wire.interrupt(ticket)
        // The reply to a later request shows that the interrupt was taken in, if one worker is at
        // it; with several it may be told a moment later, but it is told.
        _ = try wire.lookup("x")
        request.reportInterrupt(as: 80)
        let tokens = try fileSystem.wait { $0.interrupts.isEmpty ? nil : $0.interrupts }
        #expect(tokens == [80])
        request.reply([8])
      } else {
        ticket = try wire.beginRead(.invented(7))
        let box = try fileSystem.wait { $0.read }
        #expect(fileSystem.seen.withLock { $0.interrupts } == [])
        try wire.interrupt(ticket)
        let tokens = try fileSystem.wait { $0.interrupts.isEmpty ? nil : $0.interrupts }
        #expect(tokens == [70])
        try answer(box, with: [7])
      }
      #expect(try wire.reply(to: ticket).count == 1)
    }
    close()
  }

  @Test func `An interrupt that overtakes its call is told`() throws {
    for _ in 0..<1000 {
      fileSystem.seen.withLock {
        $0.read = nil
        $0.interrupts = []
      }
      let ticket = try wire.beginRead(.invented(7))
      try wire.interrupt(ticket)
      let tokens = try fileSystem.wait { $0.interrupts.isEmpty ? nil : $0.interrupts }
      #expect(tokens == [70])
      try answer(try fileSystem.wait { $0.read }, with: [])
      #expect(try wire.reply(to: ticket) == [])
    }
    close()
  }

  // MARK: Poll handles

  @Test func `Each poll handle notifies its own pollers, also when there is a later one`() throws {
    let file = FuseHandle.invented(9)
    for number in [11, 12, 13] as [UInt64] { _ = try wire.poll(file, pollHandle: number) }
    _ = try wire.poll(file, pollHandle: 14, schedule: false)
    var handles = fileSystem.seen.withLock { seen in
      defer { seen.pollHandles.removeAll() }
      return seen.pollHandles
    }
    #expect(handles.count == 3)
    handles[0].notify()
    handles.removeFirst()
    for _ in 0..<2 { for handle in handles { handle.notify() } }
    for number in [11, 12, 13, 12, 13] as [UInt64] {
      #expect(try wire.notification() == .poll(number))
    }
    _ = try wire.lookup("x")
    #expect(wire.takeNotifications() == [])
    close()
  }

  @Test func `A poll handle may outlive its file and the connection`() throws {
    let file = FuseHandle.invented(9)
    _ = try wire.poll(file, pollHandle: 11)
    let handle = try fileSystem.wait { $0.pollHandles.popLast() }
    try wire.release(file)
    handle.notify()
    #expect(try wire.notification() == .poll(11))
    close()
    let hasNotified = Monitor(false)
    try Thread.start(name: "notify") {
      handle.notify()
      hasNotified.withLock { $0 = true }
    }
    let isOver = hasNotified.wait(until: .after(seconds: 20)) { $0 ? true : nil }
    #expect(isOver == true)
  }
}
