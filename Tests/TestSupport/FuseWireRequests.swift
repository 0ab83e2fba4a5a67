// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import SystemPackage

/// The operations one by one: what the kernel sends for a system call, and the reply's content.
extension FuseWire {
  private func call(
    _ operation: FuseABI.Operation, node: UInt64, caller: Caller = .current, body: [UInt8] = []
  ) throws -> [UInt8] {
    try reply(to: send(operation, node: node, caller: caller, body: body))
  }

  private func body(_ write: (inout WireWriter) -> Void) -> [UInt8] {
    var writer = WireWriter()
    write(&writer)
    return writer.bytes
  }

  // MARK: The connection

  /// The first request of a connection.
  package func initialize(offeringPassthrough: Bool = true) throws -> FuseInitReply {
    let flags2 =
      FuseABI.offeredFlags2 | (offeringPassthrough ? FuseABI.passthroughFlag2 : 0)
    let arguments = body {
      $0.append(FuseABI.major, FuseABI.minor, 128 << 10, FuseABI.offeredFlags, flags2)
      $0.append([UInt8](repeating: 0, count: 44))
    }
    return try FuseInitReply(call(.initialize, node: 0, body: arguments))
  }

  /// The last one, at an unmount.
  package func destroy() throws {
    _ = try call(.destroy, node: 0)
  }

  // MARK: Names

  package func lookup(
    _ name: String, in node: UInt64 = FuseABI.rootNode, caller: Caller = .current
  ) throws -> FuseEntry {
    try FuseEntry(call(.lookup, node: node, caller: caller, body: body { $0.append(name) }))
  }

  /// Looks every component of a path up, from the root; an empty path is the root itself.
  package func node(at path: String) throws -> UInt64 {
    try path.split(separator: "/").reduce(FuseABI.rootNode) { node, name in
      try lookup(String(name), in: node).node
    }
  }

  /// Gives lookups back; there is no reply.
  package func forget(_ node: UInt64, lookups: UInt64 = 1) throws {
    try sendUnanswered(.forget, node: node, body: body { $0.append64(lookups) })
  }

  package func batchForget(_ nodes: [(node: UInt64, lookups: UInt64)]) throws {
    let arguments = body {
      $0.append(UInt32(nodes.count), 0)
      for entry in nodes { $0.append64(entry.node, entry.lookups) }
    }
    try sendUnanswered(.batchForget, node: 0, body: arguments)
  }

  package func makeDirectory(
    _ name: String, in node: UInt64 = FuseABI.rootNode, mode: UInt32 = 0o777, umask: UInt32 = 0o022,
    caller: Caller = .current
  ) throws -> FuseEntry {
    let arguments = body {
      $0.append(mode & ~umask, umask)
      $0.append(name)
    }
    return try FuseEntry(call(.makeDirectory, node: node, caller: caller, body: arguments))
  }

  package func removeDirectory(_ name: String, in node: UInt64 = FuseABI.rootNode) throws {
    _ = try call(.removeDirectory, node: node, body: body { $0.append(name) })
  }

  package func unlink(_ name: String, in node: UInt64) throws {
    _ = try call(.unlink, node: node, body: body { $0.append(name) })
  }

  package func create(_ name: String, in node: UInt64, mode: UInt32 = 0o644) throws {
    let arguments = body {
      $0.append(UInt32(O_RDWR | O_CREAT), mode | 0o100000, 0, 0)
      $0.append(name)
    }
    _ = try call(.create, node: node, body: arguments)
  }

  package func rename(
    _ name: String, in node: UInt64, to newName: String, in newNode: UInt64
  ) throws {
    let arguments = body {
      $0.append64(newNode)
      $0.append(name)
      $0.append(newName)
    }
    _ = try call(.rename, node: node, body: arguments)
  }

  package func symlink(_ name: String, in node: UInt64, to target: String) throws {
    let arguments = body {
      $0.append(name)
      $0.append(target)
    }
    _ = try call(.symlink, node: node, body: arguments)
  }

  // MARK: Attributes

  package func attributes(of node: UInt64, handle: FuseHandle? = nil) throws -> FuseAttributes {
    let arguments = body {
      $0.append(handle == nil ? 0 : 1, 0)
      $0.append64(handle?.opened.handle ?? 0)
    }
    return try attributes(call(.getAttributes, node: node, body: arguments))
  }

  /// Changes those that are not nil.
  @discardableResult
  package func setAttributes(
    of node: UInt64, size: UInt64? = nil, mode: UInt32? = nil, uid: UInt32? = nil,
    gid: UInt32? = nil, touching: Bool = false, handle: FuseHandle? = nil,
    caller: Caller = .current
  ) throws -> FuseAttributes {
    var valid: UInt32 = 0
    for (bit, isSet) in [
      (0, mode != nil), (1, uid != nil), (2, gid != nil), (3, size != nil), (4, touching),
      (5, touching), (6, handle != nil), (7, touching), (8, touching),
    ] where isSet { valid |= 1 << bit }
    let arguments = body {
      $0.append(valid, 0)
      $0.append64(handle?.opened.handle ?? 0, size ?? 0, 0, 0, 0, 0)
      $0.append(0, 0, 0, mode ?? 0, 0, uid ?? 0, gid ?? 0, 0)
    }
    return try attributes(call(.setAttributes, node: node, caller: caller, body: arguments))
  }

  private func attributes(_ bytes: [UInt8]) throws -> FuseAttributes {
    var reader = WireReader(bytes)
    try reader.skip(16)
    return try FuseAttributes(&reader)
  }

  package func statistics(of node: UInt64 = FuseABI.rootNode) throws -> FuseStatistics {
    try FuseStatistics(call(.statistics, node: node))
  }

  // MARK: Open files

  package func open(
    _ node: UInt64, flags: Int32 = O_RDWR, caller: Caller = .current
  ) throws -> FuseHandle {
    let arguments = body { $0.append(UInt32(bitPattern: flags), 0) }
    return try FuseHandle(
      node: node, opened: FuseOpened(call(.open, node: node, caller: caller, body: arguments)),
      flags: flags)
  }

  package func open(
    path: String, flags: Int32 = O_RDWR, caller: Caller = .current
  ) throws -> FuseHandle {
    try open(node(at: path), flags: flags, caller: caller)
  }

  /// Sends a read without waiting for the data, which `reply(to:)` has.
  ///
  /// - Parameter isForPages: as the kernel reads what it keeps: in nobody's name.
  package func beginRead(
    _ handle: FuseHandle, size: Int = 4096, offset: UInt64 = 0, caller: Caller = .current,
    isForPages: Bool = false
  ) throws -> Ticket {
    let arguments = body {
      $0.append64(handle.opened.handle, offset)
      $0.append(UInt32(size), isForPages ? 0 : FuseABI.readLockOwner)
      $0.append64(isForPages ? 0 : FuseABI.lockOwner)
      $0.append(UInt32(bitPattern: handle.flags), 0)
    }
    return try send(.read, node: handle.node, caller: caller, body: arguments)
  }

  package func read(
    _ handle: FuseHandle, size: Int = 4096, offset: UInt64 = 0, within seconds: Double = patience
  ) throws -> [UInt8] {
    let data = try reply(to: beginRead(handle, size: size, offset: offset), within: seconds)
    guard data.count <= size else { throw FuseWireFailure.malformed("more than was asked for") }
    return data
  }

  package func readText(
    _ handle: FuseHandle, size: Int = 4096, offset: UInt64 = 0, within seconds: Double = patience
  ) throws -> String {
    String(
      decoding: try read(handle, size: size, offset: offset, within: seconds), as: UTF8.self)
  }

  /// Sends a write without waiting for its end; see `written(by:)`.
  package func beginWrite(
    _ handle: FuseHandle, _ data: [UInt8], offset: UInt64 = 0, caller: Caller = .current
  ) throws -> Ticket {
    let arguments = body {
      $0.append64(handle.opened.handle, offset)
      $0.append(UInt32(data.count), 0)
      $0.append64(0)
      $0.append(UInt32(bitPattern: handle.flags), 0)
      $0.append(data)
    }
    return try send(.write, node: handle.node, caller: caller, body: arguments)
  }

  package func beginWrite(_ handle: FuseHandle, _ text: String) throws -> Ticket {
    try beginWrite(handle, Array(text.utf8))
  }

  /// The count that a write returns.
  package func written(by ticket: Ticket, within seconds: Double = patience) throws -> Int {
    var reader = WireReader(try reply(to: ticket, within: seconds))
    return Int(try reader.u32())
  }

  @discardableResult
  package func write(
    _ handle: FuseHandle, _ data: [UInt8], offset: UInt64 = 0, within seconds: Double = patience
  ) throws -> Int {
    try written(by: beginWrite(handle, data, offset: offset), within: seconds)
  }

  @discardableResult
  package func write(_ handle: FuseHandle, _ text: String) throws -> Int {
    try write(handle, Array(text.utf8))
  }

  /// What close(2) of one descriptor does; the file may be open through others.
  package func flush(_ handle: FuseHandle) throws {
    let arguments = body {
      $0.append64(handle.opened.handle)
      $0.append(0, 0)
      $0.append64(0)
    }
    _ = try call(.flush, node: handle.node, body: arguments)
  }

  /// fsync(2).
  package func synchronize(_ handle: FuseHandle) throws {
    let arguments = body {
      $0.append64(handle.opened.handle)
      $0.append(0, 0)
    }
    _ = try call(.synchronize, node: handle.node, body: arguments)
  }

  package func release(_ handle: FuseHandle) throws {
    _ = try call(.release, node: handle.node, body: releaseArguments(handle))
  }

  private func releaseArguments(_ handle: FuseHandle) -> [UInt8] {
    body {
      $0.append64(handle.opened.handle)
      $0.append(UInt32(bitPattern: handle.flags), 0)
      $0.append64(0)
    }
  }

  // MARK: ioctl and poll

  /// Sends an ioctl without waiting for its end; see `ioctlReply(to:)`.
  ///
  /// As the kernel does for FUSE, the number's direction and size say what goes with the request
  /// and what may come back.
  package func beginIoctl(
    _ handle: FuseHandle, _ number: UInt32, argument: UInt64 = 0, input: [UInt8] = [],
    is32Bit: Bool = false, caller: Caller = .current
  ) throws -> Ticket {
    let size = Int(number >> 16 & 0x3fff)
    let (goesIn, comesOut) = (number & 1 << 30 != 0, number & 1 << 31 != 0)
    precondition(input.count <= (goesIn ? size : 0), "more input than the number says")
    let arguments = body {
      $0.append64(handle.opened.handle)
      $0.append(is32Bit ? 0b1001 : 0, number)
      $0.append64(argument)
      $0.append(goesIn ? UInt32(size) : 0, comesOut ? UInt32(size) : 0)
      if goesIn { $0.append(input + [UInt8](repeating: 0, count: size - input.count)) }
    }
    return try send(.ioctl, node: handle.node, caller: caller, body: arguments)
  }

  package func ioctlReply(
    to ticket: Ticket, within seconds: Double = patience
  ) throws -> FuseIoctlReply {
    try FuseIoctlReply(reply(to: ticket, within: seconds))
  }

  @discardableResult
  package func ioctl(
    _ handle: FuseHandle, _ number: UInt32, argument: UInt64 = 0, input: [UInt8] = [],
    is32Bit: Bool = false, within seconds: Double = patience
  ) throws -> FuseIoctlReply {
    try ioctlReply(
      to: beginIoctl(handle, number, argument: argument, input: input, is32Bit: is32Bit),
      within: seconds)
  }

  /// The events that are there now. With `schedule`, a notification of `pollHandle` is due as soon
  /// as that may have changed. poll(2) and its kin ask for errors as well; `isExact`: io_uring does not.
  package func poll(
    _ handle: FuseHandle, pollHandle: UInt64, events: Int32 = POLLIN | POLLOUT,
    schedule: Bool = true, isExact: Bool = false
  ) throws -> Int32 {
    let events = isExact ? events : events | POLLERR | POLLHUP
    let arguments = body {
      $0.append64(handle.opened.handle, pollHandle)
      $0.append(schedule ? FuseABI.scheduleNotify : 0, UInt32(bitPattern: events))
    }
    var reader = WireReader(try call(.poll, node: handle.node, body: arguments))
    return Int32(bitPattern: try reader.u32())
  }

  // MARK: Directories

  package func openDirectory(_ node: UInt64 = FuseABI.rootNode) throws -> FuseHandle {
    let flags = O_RDONLY | O_DIRECTORY
    let arguments = body { $0.append(UInt32(bitPattern: flags), 0) }
    return try FuseHandle(
      node: node, opened: FuseOpened(call(.openDirectory, node: node, body: arguments)),
      flags: flags)
  }

  /// The entries from `offset` on that fit into `size` bytes.
  package func readDirectory(
    _ handle: FuseHandle, offset: UInt64 = 0, size: Int = 4096
  ) throws -> [FuseDirectoryEntry] {
    let arguments = body {
      $0.append64(handle.opened.handle, offset)
      $0.append(UInt32(size), 0)
      $0.append64(0)
      $0.append(UInt32(bitPattern: handle.flags), 0)
    }
    let bytes = try call(.readDirectory, node: handle.node, body: arguments)
    guard bytes.count <= size else { throw FuseWireFailure.malformed("more than was asked for") }
    return try FuseDirectoryEntry.parse(bytes)
  }

  package func releaseDirectory(_ handle: FuseHandle) throws {
    _ = try call(.releaseDirectory, node: handle.node, body: releaseArguments(handle))
  }

  /// All names of a directory but `.` and `..`, in order; opens it and closes it.
  package func names(in node: UInt64 = FuseABI.rootNode, size: Int = 4096) throws -> [String] {
    let handle = try openDirectory(node)
    var entries: [FuseDirectoryEntry] = []
    while true {
      let more = try readDirectory(handle, offset: entries.last?.nextOffset ?? 0, size: size)
      if more.isEmpty { break }
      entries += more
    }
    try releaseDirectory(handle)
    return entries.map(\.name).filter { $0 != "." && $0 != ".." }
  }
}
