// SPDX-License-Identifier: Apache-2.0

import FuseSession
import LinuxSystem
import Logging
import SystemPackage
import TestSupport

/// A file system that does nothing but keep what it is asked for the test to look at.
final class TinyFileSystem: FileSystem {
  struct Seen {
    var names: [String] = []
    var forgotten: [UInt64: UInt64] = [:]
    var interrupts: [UInt64] = []
    var pollHandles: [PollHandle] = []
    var commands: [ControlCommand] = []
    /// The handles with which each was called, in order.
    var released: [UInt64] = []
    var polled: [UInt64] = []
    var synchronized: [UInt64] = []
    /// The data of the last write.
    var written: [UInt8] = []
    var controlled: [UInt64] = []
    var callers: [Caller] = []
    var changes: [AttributeChanges] = []
    /// A read that the test answers.
    var read: RequestBox<Answer.Bytes>?
    var readsForPages: [Bool] = []
    var opened: RequestBox<Answer.Opened>?
  }

  /// Handles from here on are of ioctls that make their thread wait until the test lets them go.
  static let firstBlocked: UInt64 = 1000
  /// The node whose pages are those of `pages`, and the number of its handle.
  static let pagedNode: UInt64 = 5
  static let pagedHandle: UInt64 = 77

  let seen = Monitor(Seen())
  private let gate = Monitor((open: Set<UInt64>(), isWideOpen: false))
  private let waiters: Set<Int32>
  private let pages: Int32

  /// - Parameters:
  ///   - pages: a descriptor.
  ///   - waiters: threads that wait themselves.
  init(pages: Int32 = -1, waiters: Set<Int32> = []) {
    self.pages = pages
    self.waiters = waiters
  }

  /// Lets one ioctl that waits go on.
  func release(_ handle: UInt64) { gate.withLock { _ = $0.open.insert(handle) } }

  /// Lets all go on, also those to come.
  func releaseAll() { gate.withLock { $0.isWideOpen = true } }

  /// What was seen, as soon as there is some.
  func wait<Value>(_ body: (inout Seen) -> Value?) throws -> Value {
    guard let value = seen.wait(until: .after(seconds: 20), for: body) else {
      throw FuseWireFailure.timedOut
    }
    return value
  }

  func lookup(_ request: consuming Request<Answer.Entry>, parent: UInt64, name: String) {
    seen.withLock { $0.names.append(name) }
    request.reply(
      node: 2, NodeAttributes(inode: 2, mode: 0o100644, uid: 0, gid: 0), entryTimeout: 1)
  }

  func forget(node: UInt64, count: UInt64) {
    seen.withLock { $0.forgotten[node, default: 0] += count }
  }

  func getAttributes(_ request: consuming Request<Answer.Attributes>, node: UInt64) {
    let caller = request.caller
    seen.withLock { $0.callers.append(caller) }
    request.reply(NodeAttributes(inode: node, mode: 0o40755, uid: 1, gid: 2))
  }

  func setAttributes(
    _ request: consuming Request<Answer.Attributes>, node: UInt64, _ changes: AttributeChanges
  ) {
    seen.withLock { $0.changes.append(changes) }
    request.reply(NodeAttributes(inode: node, mode: 0o40755, uid: 1, gid: 2))
  }

  func makeDirectory(
    _ request: consuming Request<Answer.Entry>, parent: UInt64, name: String, mode: UInt32
  ) {
    seen.withLock { $0.names.append(name) }
    // Dropped.
  }

  func close(handle: UInt64) {
    seen.withLock { $0.released.append(handle) }
  }

  func makeNode(
    _ request: consuming Request<Answer.Entry>, parent: UInt64, name: String, mode: UInt32
  ) {
    request.fail(.notPermitted)
  }

  func removeDirectory(
    _ request: consuming Request<Answer.Nothing>, parent: UInt64, name: String
  ) {
    seen.withLock { $0.names.append(name) }
    request.reply()
  }

  /// Node 3 is answered by the test.
  func open(_ request: consuming Request<Answer.Opened>, node: UInt64, flags: OpenFlags) {
    if node == Self.pagedNode {
      _ = request.reply(handle: Self.pagedHandle, pagesOf: pages)
      return
    }
    guard node == 3 else {
      _ = request.reply(handle: node, [])
      return
    }
    let box = RequestBox<Answer.Opened>(request)
    seen.withLock { $0.opened = box }
  }

  /// Handle 7 is answered by the test, after it has been told of interrupts as of token 70; with
  /// handle 8 only the test says when they are reported.
  func read(
    _ request: consuming Request<Answer.Bytes>, handle: UInt64, offset: UInt64, size: Int,
    flags: OpenFlags, isForPages: Bool
  ) {
    seen.withLock { $0.readsForPages.append(isForPages) }
    if handle == 7 { request.reportInterrupt(as: 70) }
    guard handle == 7 || handle == 8 else { return request.reply([1, 2, 3]) }
    let box = RequestBox<Answer.Bytes>(request)
    seen.withLock { $0.read = box }
  }

  func write(
    _ request: consuming Request<Answer.Count>, handle: UInt64, offset: UInt64,
    bytes: UnsafeRawBufferPointer, flags: OpenFlags
  ) {
    let copy = unsafe Array(bytes)
    seen.withLock { $0.written = copy }
    request.reply(copy.count)
  }

  func release(_ request: consuming Request<Answer.Nothing>, handle: UInt64) {
    seen.withLock { $0.released.append(handle) }
    request.reply()
  }

  func control(
    _ request: consuming Request<Answer.Control>, handle: UInt64, command: ControlCommand,
    input: UnsafeRawBufferPointer
  ) {
    seen.withLock {
      $0.commands.append(command)
      $0.controlled.append(handle)
    }
    if handle >= Self.firstBlocked {
      let isReleased = gate.wait(until: .after(seconds: 60)) { gate in
        gate.isWideOpen || gate.open.contains(handle) ? true : nil
      }
      guard isReleased == true else { return request.fail(.timedOut) }
      return request.reply()
    }
    let echo = unsafe Array(input)
    request.fail(.invalidArgument, output: echo)
  }

  func poll(
    _ request: consuming Request<Answer.Readiness>, handle: UInt64, events: PollEvents,
    pollHandle: consuming PollHandle?
  ) {
    seen.withLock { $0.polled.append(handle) }
    if let pollHandle { seen.withLock { $0.pollHandles.append(pollHandle) } }
    request.reply([.readable])
  }

  func openDirectory(_ request: consuming Request<Answer.Opened>, node: UInt64) {
    request.fail(.notSupported)
  }

  func readDirectory(
    _ request: consuming Request<Answer.Bytes>, handle: UInt64, offset: UInt64, size: Int
  ) {
    request.reply(
      entries: [
        DirectoryEntry(name: "a", inode: 4, mode: 0o40000, nextOffset: 1),
        DirectoryEntry(name: "12345678", inode: 5, mode: 0o100000, nextOffset: 2),
      ], size: size)
  }

  func releaseDirectory(_ request: consuming Request<Answer.Nothing>, handle: UInt64) {
    request.reply()
  }

  func getStatistics(_ request: consuming Request<Answer.Statistics>) {
    request.reply(
      FileSystemStatistics(blockSize: 512, blocks: 9, freeBlocks: 8, files: 7, nameLength: 6))
  }

  func synchronize(_ request: consuming Request<Answer.Nothing>, handle: UInt64) {
    seen.withLock { $0.synchronized.append(handle) }
    request.reply()
  }

  func waitsItself(_ thread: Int32) -> Bool { waiters.contains(thread) }

  func interrupted(_ token: UInt64) {
    seen.withLock { $0.interrupts.append(token) }
  }

  let log = CollectedLog()
  var logger: Logger { log.logger }
}

/// Keeps a request for the test to answer.
final class RequestBox<Answer>: Sendable {
  private let request: Lock<Request<Answer>?>

  init(_ request: consuming Request<Answer>) { self.request = Lock(request) }

  /// The request, once.
  func take() -> Request<Answer>? { request.withLock { $0.take() } }
}
