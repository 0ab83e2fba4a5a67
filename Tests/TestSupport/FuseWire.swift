// SPDX-License-Identifier: Apache-2.0

internal import Glibc
package import LinuxSystem
internal import SystemPackage

/// The kernel's end of a FUSE connection, over a socket pair: a daemon that is given the other end
/// serves the test as it would serve the kernel, without a mount.
///
/// Requests can be sent and their replies waited for later, in any order and from any thread;
/// a thread of its own takes in what the daemon sends, until `close()` or the daemon ends the
/// connection. Nothing here waits without a deadline.
/// Errors that the daemon answers are thrown as `Errno`, all else as `FuseWireFailure`.
package final class FuseWire: Sendable {
  /// A request that has been sent.
  package struct Ticket: Hashable, Sendable {
    package let unique: UInt64
  }

  /// In whose name a request is made.
  package struct Caller: Hashable, Sendable {
    package var uid, gid, pid: UInt32

    package init(uid: UInt32, gid: UInt32, pid: UInt32) {
      (self.uid, self.gid, self.pid) = (uid, gid, pid)
    }

    /// Whose requests are made, if not this process's user's.
    @TaskLocal package static var user: UInt32?

    /// This thread: `pid` is a number of its own, as the kernel tells the id of a thread.
    package static var current: Caller {
      let thread = UInt32(truncatingIfNeeded: UInt(pthread_self()) >> 8)
      return Caller(uid: user ?? getuid(), gid: user ?? getgid(), pid: thread)
    }
  }

  package enum Notification: Hashable, Sendable {
    /// The poll handle (`kh`) that may have become ready.
    case poll(UInt64)
    case other(code: Int32, body: [UInt8])
  }

  /// How long a reply may take if the test does not say otherwise.
  package static let patience = 10.0

  private struct State {
    // Even numbers, as the kernel's: the interrupt of a request has its number plus one.
    var nextUnique: UInt64 = 2
    var outstanding: Set<UInt64> = []
    var replies: [UInt64: (error: Int32, body: [UInt8])] = [:]
    var notifications: [Notification] = []
    var violations: [String] = []
    var isClosed = false
  }

  private let socket: Descriptor
  private let daemonEnd: Lock<Descriptor?>
  private let state = Monitor(State())

  /// Makes the pair, and starts to listen on the kernel's end of it.
  package init() throws {
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw Errno(rawValue: errno) }
    socket = Descriptor(owning: ends[0])
    daemonEnd = Lock(Descriptor(owning: ends[1]))
    // A message has to fit as a whole: 1 MiB of data and its header.
    var size: Int32 = 4 << 20
    for end in ends {
      for option in [SO_SNDBUF, SO_SNDBUFFORCE] {
        _ = unsafe setsockopt(end, SOL_SOCKET, option, &size, 4)
      }
    }
    try Thread.start(name: "fuse-wire") { [self] in listen() }
  }

  /// The end to give to the daemon, once.
  package func takeDaemonEnd() -> Descriptor {
    let end = daemonEnd.withLock { $0.take() }
    guard let end else { preconditionFailure("the daemon's end has been taken already") }
    return end
  }

  /// Ends the connection, as an unmount does: the daemon reads an end of file.
  package func close() {
    daemonEnd.withLock { $0 = nil }
    _ = shutdown(socket.raw, Int32(SHUT_RDWR))
  }

  /// What the daemon did that the kernel would not take: answers to what nobody asked or what was
  /// answered before, messages whose length is wrong.
  package var violations: [String] { state.withLock { $0.violations } }

  /// How many requests have not been answered.
  package var outstandingCount: Int { state.withLock { $0.outstanding.count } }

  // MARK: Sending

  /// Sends a request; `body` is what follows the header.
  package func send(
    _ operation: FuseABI.Operation, node: UInt64, caller: Caller = .current, body: [UInt8] = []
  ) throws -> Ticket {
    try send(opcode: operation.rawValue, node: node, caller: caller, body: body)
  }

  /// The same with any number for an operation. For one that has no reply, none may be expected.
  package func send(
    opcode: UInt32, node: UInt64, caller: Caller = .current, body: [UInt8] = []
  ) throws -> Ticket {
    let unique = state.withLock { state in
      let unique = state.nextUnique
      state.nextUnique += 2
      state.outstanding.insert(unique)
      return unique
    }
    do {
      try transmit(opcode, unique: unique, node: node, caller: caller, body: body)
    } catch {
      state.withLock { _ = $0.outstanding.remove(unique) }
      throw error
    }
    return Ticket(unique: unique)
  }

  /// Sends one of the requests that have no reply (FORGET).
  package func sendUnanswered(
    _ operation: FuseABI.Operation, node: UInt64, body: [UInt8]
  ) throws {
    let unique = state.withLock { state in
      state.nextUnique += 2
      return state.nextUnique - 2
    }
    try transmit(operation.rawValue, unique: unique, node: node, caller: .current, body: body)
  }

  /// Tells the daemon that the caller of a request got a signal. The request itself is to be
  /// answered all the same.
  package func interrupt(_ ticket: Ticket) throws {
    var body = WireWriter()
    body.append64(ticket.unique)
    try transmit(
      FuseABI.Operation.interrupt.rawValue, unique: ticket.unique | 1, node: 0,
      caller: Caller(uid: 0, gid: 0, pid: 0), body: body.bytes)
  }

  private func transmit(
    _ operation: UInt32, unique: UInt64, node: UInt64, caller: Caller, body: [UInt8]
  ) throws {
    var message = WireWriter()
    message.append(UInt32(FuseABI.inHeaderSize + body.count), operation)
    message.append64(unique, node)
    message.append(caller.uid, caller.gid, caller.pid, 0)
    message.append(body)
    let bytes = message.bytes
    let deadline = MonotonicInstant.after(seconds: Self.patience)
    while true {
      let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
      if unsafe Glibc.send(socket.raw, bytes, bytes.count, flags) >= 0 { return }
      switch errno {
      case EINTR: continue
      case EAGAIN: try waitForRoom(until: deadline)
      case EPIPE, ECONNRESET, ENOTCONN: throw FuseWireFailure.closed
      default: throw Errno(rawValue: errno)
      }
    }
  }

  private func waitForRoom(until deadline: MonotonicInstant) throws {
    let now = MonotonicInstant.now
    guard now < deadline else { throw FuseWireFailure.timedOut }
    var entry = pollfd(fd: socket.raw, events: Int16(POLLOUT), revents: 0)
    let milliseconds = (deadline.nanoseconds - now.nanoseconds) / 1_000_000 + 1
    _ = unsafe Glibc.poll(&entry, 1, Int32(milliseconds))
  }

  // MARK: Receiving

  /// The body of the reply to a request.
  package func reply(to ticket: Ticket, within seconds: Double = patience) throws -> [UInt8] {
    let reply = try state.wait(until: .after(seconds: seconds)) { state in
      if let reply = state.replies.removeValue(forKey: ticket.unique) { return reply }
      if state.isClosed { throw FuseWireFailure.closed }
      return nil
    }
    guard let reply else { throw FuseWireFailure.timedOut }
    if reply.error != 0 { throw Errno(rawValue: -reply.error) }
    return reply.body
  }

  /// Whether a request is still unanswered after so long: it is parked.
  package func isUnanswered(_ ticket: Ticket, after seconds: Double) -> Bool {
    let answered = state.wait(until: .after(seconds: seconds)) { state in
      state.outstanding.contains(ticket.unique) ? nil : true
    }
    return answered == nil
  }

  /// The next notification, in the order in which they came.
  package func notification(within seconds: Double = patience) throws -> Notification {
    let first = try state.wait(until: .after(seconds: seconds)) { state in
      if !state.notifications.isEmpty { return state.notifications.removeFirst() }
      if state.isClosed { throw FuseWireFailure.closed }
      return nil as Notification?
    }
    guard let first else { throw FuseWireFailure.timedOut }
    return first
  }

  /// Waits for a notification of this poll handle; those that came before it stay.
  package func wakeup(of pollHandle: UInt64, within seconds: Double = patience) throws {
    let found = try state.wait(until: .after(seconds: seconds)) { state in
      if let index = state.notifications.firstIndex(of: .poll(pollHandle)) {
        state.notifications.remove(at: index)
        return true
      }
      if state.isClosed { throw FuseWireFailure.closed }
      return nil
    }
    if found == nil { throw FuseWireFailure.timedOut }
  }

  /// The notifications that have come and that nobody has taken; they are taken now.
  package func takeNotifications() -> [Notification] {
    state.withLock { state in
      defer { state.notifications.removeAll() }
      return state.notifications
    }
  }

  /// Waits until the daemon has closed its end.
  package func waitUntilClosed(within seconds: Double = patience) -> Bool {
    state.wait(until: .after(seconds: seconds)) { $0.isClosed ? true : nil } ?? false
  }

  private func listen() {
    var buffer = [UInt8](repeating: 0, count: 2 << 20)
    while true {
      var entry = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
      guard unsafe Glibc.poll(&entry, 1, -1) > 0 else { continue }
      let count = unsafe recv(socket.raw, &buffer, buffer.count, Int32(MSG_TRUNC))
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { break }
      accept(Array(buffer.prefix(count)))
    }
    state.withLock { $0.isClosed = true }
  }

  private func accept(_ message: [UInt8]) {
    var reader = WireReader(message)
    guard let length = try? reader.u32(), let error = try? reader.s32(),
      let unique = try? reader.u64(), Int(length) == message.count
    else { return violation("a message of \(message.count) bytes with a wrong length") }
    let body = reader.remainder()
    if unique == 0 { return accept(notification: error, body) }
    if unique & 1 == 1 { return accept(interruptReply: error, of: unique & ~1) }
    guard (-4095...0).contains(error) else { return violation("an answer with error \(error)") }
    if error != 0 && !body.isEmpty { violation("an error with a body") }
    let wasExpected = state.withLock { state in
      guard state.outstanding.remove(unique) != nil else { return false }
      state.replies[unique] = (error, body)
      return true
    }
    if !wasExpected { violation("an answer to \(unique), which is not outstanding") }
  }

  private func accept(notification code: Int32, _ body: [UInt8]) {
    var reader = WireReader(body)
    let notification: Notification
    if code == FuseABI.notifyPoll, let handle = try? reader.u64() {
      notification = .poll(handle)
    } else {
      notification = .other(code: code, body: body)
    }
    state.withLock { $0.notifications.append(notification) }
  }

  /// The daemon did not find what was to be interrupted: the kernel tries again as long as the
  /// request is unanswered.
  private func accept(interruptReply error: Int32, of unique: UInt64) {
    guard error == -EAGAIN, state.withLock({ $0.outstanding.contains(unique) }) else { return }
    try? interrupt(Ticket(unique: unique))
  }

  private func violation(_ text: String) {
    state.withLock { $0.violations.append(text) }
  }
}
