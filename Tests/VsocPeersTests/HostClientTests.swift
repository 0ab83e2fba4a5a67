// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocProtocol

@testable import VsocPeers

/// The host-client protocol, byte by byte (SPEC §9, §12).
@Suite struct HostClientTests {
  private let fixture: PeerFixture
  private let socket: HostSocket
  private let path: String

  init() throws {
    fixture = try PeerFixture()
    (socket, path) = try fixture.hostSocket()
  }

  private func request(_ name: [UInt8], length: Int16? = nil) -> [UInt8] {
    [UInt8](of: length ?? Int16(name.count)) + name
  }

  private func connect() throws -> PeerClient {
    let client = try PeerClient(path)
    #expect(try client.receive(4) == ([0, 0, 0, 0], []))
    return client
  }

  @Test func `A client gets two events and the memory, and takes part`() throws {
    let client = try connect()
    client.send(request(Array("demo".utf8)))
    let (bytes, descriptors) = try client.receive(8)
    #expect(bytes == [UInt8](repeating: 0, count: 8))
    try #require(descriptors.count == 3)
    let (incoming, outgoing) = (descriptors[0], descriptors[1])
    let memory = try SharedMapping(descriptor: descriptors[2], size: 1 << 20)
    #expect(unsafe memory.base.load(as: UInt16.self) == 2)
    #expect(fixture.region.peers.map(\.kind) == [.hostClient])
    // From a client of the mount, at the guest end, and back.
    try fixture.region.sendInterrupt(from: .guest)
    #expect(Event.take(incoming) != nil)
    let reader = fixture.region.openDoorbell(.guest)
    Event.ring(outgoing)
    try fixture.eventually { try fixture.region.read(reader, capacity: 8) == [0] }
    fixture.region.close(reader)
    // From a machine at the guest end, and to it, without the daemon.
    let machine = try fixture.connect(.guest)
    let hand = try machine.handshake(peers: 1)
    Event.ring(hand.peers[0].event)
    #expect(Event.take(incoming) != nil)
    _ = Event.take(hand.event, within: 0)
    Event.ring(outgoing)
    #expect(Event.take(hand.event) == 1)
    client.close()
    try fixture.eventually { fixture.region.peers.map(\.kind) == [.vm] }
  }

  @Test func `One byte after the other is fine`() throws {
    let client = try connect()
    for byte in request(Array("demo".utf8)) { client.send([byte]) }
    #expect(try client.receive(8).1.count == 3)
  }

  @Test(arguments: [-1, 0, 17, 32767, -32768] as [Int16])
  func `A bad length ends the connection`(length: Int16) throws {
    let client = try connect()
    client.send(request([], length: length))
    #expect(try client.receive(8).0 == [])
    #expect(try fixture.takeLines(1)[0].contains("\(length) bytes"))
  }

  @Test(arguments: [
    "x", "demo2", "0123456789abcdef", "dem\0", "demo\0", ".vsocfs", "a/b", "\u{fffd}", "managed",
  ])
  func `A name that is none of a region that can be had ends it`(name: String) throws {
    var managed = try PeerFixture.configuration("managed")
    managed.managedBy = fixture.region.name
    try fixture.engine.create(managed)
    let client = try connect()
    client.send(request(Array(name.utf8)))
    #expect(try client.receive(8).0 == [])
    _ = try fixture.takeLines(1)
    #expect(fixture.engine.peerCounts == [:])
  }

  @Test func `Bytes that are no text end it`() throws {
    let client = try connect()
    client.send(request([0xff, 0xfe]))
    #expect(try client.receive(8).0 == [])
    _ = try fixture.takeLines(1)
  }

  @Test func `Who has what he asked for says nothing more`() throws {
    let client = try connect()
    client.send(request(Array("demo".utf8)) + [1])
    _ = try client.receive(8)
    try fixture.eventually { fixture.region.peers.isEmpty }
  }

  @Test func `Those who say half of it wait, and disturb nobody`() throws {
    let halves = try (0..<50).map { index in
      let client = try connect()
      client.send(Array(request(Array("demo".utf8)).prefix(index % 6)))
      return client
    }
    let client = try connect()
    client.send(request(Array("demo".utf8)))
    #expect(try client.receive(8).1.count == 3)
    for half in halves { half.close() }
    #expect(fixture.region.peers.count == 1)
  }

  // MARK: The socket

  @Test func `Its file is for the owner alone, and goes with it`() throws {
    var status = stat()
    #expect(unsafe lstat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
    #expect(throws: HostSocketError.self) { try HostSocket(at: path) }
    socket.remove()
    #expect(unsafe access(path, F_OK) == -1)
  }

  @Test func `What is no socket is left alone, one that nobody listens to makes way`() throws {
    let other = path + ".other"
    let file = unsafe open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
    close(file)
    #expect(throws: HostSocketError.self) { try HostSocket(at: other) }
    #expect(unsafe access(other, F_OK) == 0)
    unsafe unlink(other)
    let dead = try UnixSocket.listen(at: other, mode: 0o600)
    _ = consume dead
    #expect(unsafe access(other, F_OK) == 0)
    let next = try HostSocket(at: other)
    #expect(UnixSocket.isListening(at: other))
    next.remove()
    #expect(throws: HostSocketError.self) {
      try HostSocket(at: "/tmp/" + String(repeating: "x", count: 120))
    }
  }

  @Test func `A file that has taken its place is left alone`() throws {
    unsafe unlink(path)
    let other = try UnixSocket.listen(at: path, mode: 0o600)
    socket.remove()
    #expect(unsafe access(path, F_OK) == 0)
    unsafe unlink(path)
    withExtendedLifetime(other.raw) {}
  }
}
