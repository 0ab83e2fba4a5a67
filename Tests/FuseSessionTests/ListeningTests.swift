// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing

@testable import FuseSession

/// A session whose requests wait for one another: ioctls that hold their threads up, and what is
/// answered all the same.
@Suite struct ListeningTests {
  /// A connection that is served by so many threads, and ioctls that wait until the test lets them
  /// go.
  private final class Served: Sendable {
    static let waiter = FuseWire.Caller(uid: 0, gid: 0, pid: 4711)
    private static let seconds = 20.0
    private static let fileSize = 10_000

    let fileSystem: TinyFileSystem
    let wire: FuseWire
    let session: Session
    private let file: SharedMemoryFile
    private let ends = Monitor(0)
    private let threads: Int

    init(threads: Int) throws {
      self.threads = threads
      file = try SharedMemoryFile(name: "vsocfs-test", size: Self.fileSize)
      fileSystem = TinyFileSystem(
        pages: file.descriptor.raw, waiters: [Int32(Self.waiter.pid)])
      wire = try FuseWire()
      session = try Session(
        fileSystem, options: [], wantsPassthrough: false,
        ended: { [ends] in ends.withLock { $0 += 1 } })
      let wire = wire
      let hasInitialized = Monitor(false)
      try Thread.start(name: "kernel") {
        if (try? wire.initialize()) != nil { hasInitialized.withLock { $0 = true } }
      }
      try session.attach(wire.takeDaemonEnd().release())
      try session.negotiate()
      let isDone = hasInitialized.wait(until: .after(seconds: Self.seconds)) { $0 ? true : nil }
      guard isDone == true else { throw FuseWireFailure.timedOut }
      try session.start(.listening(try SharedRooms(threads, for: session)))
    }

    /// Sends ioctls that wait, of which each has a number, until so many are there.
    func block(_ numbers: Range<Int>) throws -> [FuseWire.Ticket] {
      try numbers.map { number in
        let handle = TinyFileSystem.firstBlocked + UInt64(number)
        let ticket = try wire.beginIoctl(.invented(handle), 0x7800)
        // One after the other, so that their order is known.
        try waitForCarriedOut(min(number + 1, threads - 1))
        return ticket
      }
    }

    /// The numbers of those that threads carry out or have carried out, in that order.
    func waitForCarriedOut(_ count: Int) throws {
      _ = try fileSystem.wait { $0.controlled.count >= count ? true : nil }
    }

    var carriedOut: [Int] {
      fileSystem.seen.withLock { seen in
        seen.controlled.map { Int($0 - TinyFileSystem.firstBlocked) }
      }
    }

    /// All that must be answered whoever waits.
    func checkUnhindered() throws {
      let paged = FuseHandle.invented(
        1 << 63 | UInt64(file.descriptor.raw) << 40 | TinyFileSystem.pagedHandle)
      for _ in 0..<3 {
        #expect(try wire.read(paged, size: 4096).count == 4096)
        #expect(try wire.write(paged, [1, 2, 3], offset: 4096) == 3)
        _ = try wire.lookup("x")
        _ = try wire.attributes(of: 1)
        _ = try wire.setAttributes(of: 1, size: 1)
        // The file system drops it, which is an answer.
        #expect(throws: Errno.ioError) { try wire.makeDirectory("x") }
        try wire.removeDirectory("x")
        _ = try wire.statistics()
        try wire.forget(3)
      }
    }

    /// Ends the connection, lets everything go, and waits for the threads.
    func close() {
      wire.close()
      fileSystem.releaseAll()
      let isOver = ends.wait(until: .after(seconds: Self.seconds)) { $0 > 0 ? true : nil }
      #expect(isOver == true, "threads are lost")
      #expect(ends.withLock { $0 } == 1)
      #expect(session.pool.isEmpty)
      #expect(wire.violations == [])
    }

    var hasEnded: Bool { ends.withLock { $0 > 0 } }
  }

  /// Numbers of threads, and of calls that wait: fewer than there are threads that may, as many, and
  /// more.
  private static let states: [(threads: Int, blocked: Int)] = [2, 3, 4, 8].flatMap { threads in
    (max(threads - 3, 0)...threads + 2).map { (threads, $0) }
  }

  @Test(arguments: states)
  func `Pages, names and attributes are served whoever waits`(
    threads: Int, blocked: Int
  ) throws {
    let served = try Served(threads: threads)
    let tickets = try served.block(0..<blocked)
    try served.checkUnhindered()
    // One listens always; what the others cannot carry out is queued.
    let running = min(blocked, threads - 1)
    #expect(served.carriedOut == Array(0..<running))
    for ticket in tickets { #expect(served.wire.isUnanswered(ticket, after: 0)) }
    // One after the other is let go: what is queued follows in order.
    for (number, ticket) in tickets.enumerated() {
      served.fileSystem.release(TinyFileSystem.firstBlocked + UInt64(number))
      _ = try served.wire.ioctlReply(to: ticket)
      let following = min(blocked, number + threads)
      try served.waitForCarriedOut(following)
      #expect(served.carriedOut == Array(0..<following))
      try served.checkUnhindered()
    }
    #expect(served.wire.outstandingCount == 0)
    served.close()
  }

  /// The kernel sends no more pages to be written back while too many of these are under way.
  @Test func `A release is answered when nobody is free to carry it out, and carried out then`()
    throws
  {
    let served = try Served(threads: 4)
    let tickets = try served.block(0..<5)
    let handles = Array(100..<120 as Range<UInt64>)
    for handle in handles { try served.wire.release(.invented(handle)) }
    #expect(served.fileSystem.seen.withLock { $0.released } == [])
    try served.checkUnhindered()
    served.fileSystem.releaseAll()
    for ticket in tickets { _ = try served.wire.ioctlReply(to: ticket) }
    _ = try served.fileSystem.wait { $0.released.count == handles.count ? true : nil }
    #expect(served.fileSystem.seen.withLock { Set($0.released) } == Set(handles))
    served.close()
  }

  @Test(arguments: states)
  func `The connection ends once, whoever waits`(threads: Int, blocked: Int) throws {
    let served = try Served(threads: threads)
    _ = try served.block(0..<blocked)
    try served.checkUnhindered()
    served.wire.close()
    // Who is in a call returns from it first.
    if blocked > 0 { #expect(!served.hasEnded) }
    served.close()
    // What was queued is for nobody any more, but the end may not have been seen yet.
    let carriedOut = served.carriedOut
    #expect(carriedOut == Array(0..<carriedOut.count))
    #expect(carriedOut.count >= min(blocked, threads - 1))
  }

  @Test(arguments: [FuseABI.Operation.open, .synchronize, .poll, .ioctl])
  func `What is asked of an open file is queued, unless its caller waits itself`(
    operation: FuseABI.Operation
  ) throws {
    let served = try Served(threads: 3)
    let blocked = try served.block(0..<2)
    // A handle and zeros are valid arguments of each.
    let body = [7] + [UInt8](repeating: 0, count: 31)
    let queued = try served.wire.send(operation, node: 9, body: body)
    try served.checkUnhindered()
    #expect(served.wire.isUnanswered(queued, after: 0))
    let own = try served.wire.send(operation, node: 9, caller: Served.waiter, body: body)
    answered(own, by: served)
    #expect(served.wire.isUnanswered(queued, after: 0))
    served.fileSystem.releaseAll()
    answered(queued, by: served)
    for ticket in blocked { _ = try served.wire.ioctlReply(to: ticket) }
    served.close()
  }

  private func answered(_ ticket: FuseWire.Ticket, by served: Served) {
    #expect(!served.wire.isUnanswered(ticket, after: 20))
  }

  /// A queued read, and a write with its data.
  @Test func `What was queued is what was asked`() throws {
    let served = try Served(threads: 2)
    let blocked = try served.block(0..<1)
    let file = FuseHandle.invented(9)
    let data = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
    let write = try served.wire.beginWrite(file, data)
    let read = try served.wire.beginRead(file)
    try served.checkUnhindered()
    #expect(served.wire.isUnanswered(write, after: 0))
    served.fileSystem.releaseAll()
    #expect(try served.wire.written(by: write) == data.count)
    #expect(served.fileSystem.seen.withLock { $0.written } == data)
    #expect(try served.wire.reply(to: read) == [1, 2, 3])
    _ = try served.wire.ioctlReply(to: blocked[0])
    served.close()
  }

  /// Clients that call as fast as they can: nobody waits for a request that is not theirs.
  @Test(arguments: [2, 3, 8])
  func `No request is left behind`(threads: Int) throws {
    let served = try Served(threads: threads)
    let outcome = Monitor((running: 4, errors: [String]()))
    for client in 0..<4 {
      try Thread.start(name: "client") {
        let result = Result {
          for round in 0..<1500 {
            if round % 3 == client % 3 { _ = try served.wire.lookup("x") }
            try served.wire.release(.invented(UInt64(client)))
          }
        }
        outcome.withLock { outcome in
          outcome.running -= 1
          if case .failure(let error) = result { outcome.errors.append("\(error)") }
        }
      }
    }
    let errors = outcome.wait(until: .after(seconds: 120)) { $0.running == 0 ? $0.errors : nil }
    #expect(errors == [])
    served.close()
  }
}
