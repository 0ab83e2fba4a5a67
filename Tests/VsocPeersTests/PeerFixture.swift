// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocProtocol

@testable import VsocPeers

/// An engine with a region, a server of peers, and a directory for its sockets. No file system is needed.
final class PeerFixture: Sendable {
  static let milliseconds: Int32 = 20_000

  let engine: Engine
  let region: Region
  let server: PeerServer
  private let directory: String
  private let log = CollectedLog()

  init(
    _ limits: PeerLimits = PeerLimits(connections: 1024, doors: 64),
    ringer: @escaping Engine.RingerSource = { () throws(Errno) in try Ringer() }
  ) throws {
    let log = log
    engine = try Engine(ringer: ringer)
    region = try engine.create(Self.configuration("demo"))
    var template = Array("/tmp/vsocfs-peers-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw Errno(rawValue: errno) }
    directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    server = try PeerServer(
      engine: engine, limits: limits,
      memory: { region throws(Errno) in
        try region.seal().descriptor.reopen(forWriting: true)
      },
      log: log.logger)
  }

  deinit {
    server.stop()
    engine.shutDown()
    // Also of regions that the test has destroyed.
    if let sockets = try? Directory(path: directory) {
      for name in (try? sockets.names()) ?? [] { try? sockets.remove(name) }
    }
    _ = unsafe rmdir(directory)
  }

  static func configuration(
    _ name: String, size: UInt64 = 1 << 20
  ) throws -> RegionConfiguration {
    let access = EndAccess(uid: 0, gid: 0, mode: 0o660)
    return RegionConfiguration(
      name: RegionName(name)!, geometry: try RegionGeometry(size: size), guest: access,
      host: access)
  }

  /// Takes the lines of the log when there are so many.
  func takeLines(_ count: Int) throws -> [String] {
    let found = log.lines.wait(until: .after(seconds: 20)) { lines -> [String]? in
      guard lines.count >= count else { return nil }
      defer { lines = [] }
      return lines
    }
    return try #require(found)
  }

  /// Waits for what no event tells of.
  func eventually(_ condition: () throws -> Bool) throws {
    let deadline = MonotonicInstant.after(seconds: 20)
    while try !condition() {
      try #require(MonotonicInstant.now < deadline)
      mt_sleep(1)
    }
  }

  /// Connects as a virtual machine does, by a door that is opened for it.
  func connect(_ end: End, of region: Region? = nil) throws -> PeerClient {
    try PeerClient(openDoor(end, of: region))
  }

  /// Opens a door, as if a user had looked at it, and gives the path of its socket.
  func openDoor(_ end: End, of region: Region? = nil, for user: UInt32 = 0) throws -> String {
    let region = region ?? self.region
    let path = "\(directory)/\(region.name)-\(end)"
    let isOpen = Monitor(false)
    let door = Door(to: end, of: region, for: user) { () throws(Errno) in
      _ = unsafe unlink(path)
      return BoundSocket(try UnixSocket.listen(at: path, mode: 0o600))
    }
    server.open(door) { isOpen.withLock { $0 = true } }
    try #require(isOpen.wait(until: .after(seconds: 20)) { $0 ? true : nil } == true)
    return path
  }

  /// Listens for host clients, and gives the path.
  func hostSocket() throws -> (HostSocket, String) {
    let path = directory + "/host"
    let socket = try HostSocket(at: path)
    server.listen(socket)
    return (socket, path)
  }
}

/// The other side of a connection.
final class PeerClient {
  let socket: Int32

  init(_ path: String) throws {
    unsafe socket = mt_connect(path)
    guard socket >= 0 else { throw Errno(rawValue: -socket) }
  }

  deinit { close() }

  private var isClosed = false

  func close() {
    guard !isClosed else { return }
    isClosed = true
    _ = Glibc.close(socket)
  }

  func send(_ bytes: [UInt8]) {
    _ = unsafe Glibc.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL))
  }

  /// Bytes with descriptors; no bytes at the end.
  func receive(_ count: Int, descriptors: Int = 3) throws -> ([UInt8], [Int32]) {
    var bytes = [UInt8](repeating: 0, count: count)
    var numbers = [Int32](repeating: -1, count: max(1, descriptors))
    let length = unsafe mt_receive(
      socket, &bytes, Int32(count), &numbers, Int32(descriptors), PeerFixture.milliseconds)
    // What was not read when the other side closed its end is told so.
    guard length != -ECONNRESET else { return ([], []) }
    guard length >= 0 else { throw Errno(rawValue: -length) }
    return (Array(bytes.prefix(Int(length))), numbers.filter { $0 >= 0 })
  }

  /// A message of the ivshmem protocol; nil at the end.
  func message() throws -> (number: Int64, descriptor: Int32?)? {
    let (bytes, descriptors) = try receive(8, descriptors: 1)
    guard !bytes.isEmpty else { return nil }
    try #require(bytes.count == 8)
    let number = unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(as: Int64.self) }
    return (Int64(littleEndian: number), descriptors.first)
  }

  /// What a virtual machine is told first.
  func handshake(peers: Int) throws -> Handshake {
    var messages: [(number: Int64, descriptor: Int32?)] = []
    for _ in 0..<peers + 4 { messages.append(try #require(try message())) }
    #expect(messages[0].number == 0 && messages[0].descriptor == nil)
    #expect(messages[1].descriptor == nil)
    #expect(messages[2].number == -1)
    #expect(messages.last?.number == messages[1].number)
    return Handshake(
      id: messages[1].number, memory: try #require(messages[2].descriptor),
      peers: try messages[3..<messages.count - 1].map { ($0.number, try #require($0.descriptor)) },
      event: try #require(messages.last?.descriptor))
  }
}

struct Handshake {
  let id: Int64
  let memory: Int32
  let peers: [(id: Int64, event: Int32)]
  let event: Int32

  var ids: [Int64] { peers.map(\.id) }
}

/// The event, as one that has it reads and writes it.
enum Event {
  static func ring(_ event: Int32) {
    var one: UInt64 = 1
    _ = unsafe write(event, &one, 8)
  }

  /// How often it was rung, when it was; nil at the deadline.
  static func take(_ event: Int32, within milliseconds: Int32 = PeerFixture.milliseconds) -> UInt64?
  {
    guard mt_readable(event, milliseconds) == 1 else { return nil }
    var count: UInt64 = 0
    return unsafe read(event, &count, 8) == 8 ? count : nil
  }
}
