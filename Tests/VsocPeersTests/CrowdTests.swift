// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocProtocol

@testable import VsocPeers

/// Many peers, and those who take what is everybody's.
@Suite struct CrowdTests {
  /// Reads until a peer is told of; gives those who are there then.
  private func read(_ client: PeerClient, until last: Int64) throws -> Set<Int64> {
    var live: Set<Int64> = []
    var own: Int64?
    var count = 0
    while !live.contains(last) {
      let message = try #require(try client.message())
      if let descriptor = message.descriptor { Glibc.close(descriptor) }
      defer { count += 1 }
      // Its version, its id, the memory, the other end.
      guard count > 3 else {
        if count == 1 { own = message.number }
        continue
      }
      if message.number == own { continue }
      if message.descriptor == nil {
        #expect(live.remove(message.number) != nil, "\(message.number) was never told of")
      } else {
        #expect(live.insert(message.number).inserted, "\(message.number) came twice")
      }
    }
    return live
  }

  @Test func `Who leaves while a newcomer is told of him is told to have gone`() throws {
    let fixture = try PeerFixture()
    for round in 0..<20 {
      let crowd = try (0..<200).map { _ in try fixture.connect(.guest) }
      try fixture.eventually { fixture.region.peers.count == 200 }
      let newcomer = try fixture.connect(.host)
      #expect(try newcomer.message()?.number == 0)
      for client in crowd { client.close() }
      try fixture.eventually { fixture.region.peers.count == 1 }
      let late = try fixture.connect(.guest)
      let last = try late.handshake(peers: 2).id
      // The first message is read already.
      var count = 1
      var live: Set<Int64> = []
      var own: Int64?
      while !live.contains(last) {
        let message = try #require(try newcomer.message())
        if let descriptor = message.descriptor { Glibc.close(descriptor) }
        defer { count += 1 }
        if count == 1 { own = message.number }
        guard count > 3, message.number != own else { continue }
        if message.descriptor != nil {
          live.insert(message.number)
        } else {
          #expect(live.remove(message.number) != nil)
        }
      }
      #expect(live == [last], "round \(round)")
      newcomer.close()
      late.close()
      try fixture.eventually { fixture.region.peers.isEmpty }
    }
  }

  @Test func `Who does not read keeps nobody waiting, and knows all when he does`() throws {
    let fixture = try PeerFixture()
    let early = try fixture.connect(.guest)
    _ = try early.handshake(peers: 1)
    let stalled = try fixture.connect(.host)
    try fixture.eventually { fixture.region.peers.count == 2 }
    for _ in 0..<3000 {
      let client = try fixture.connect(.guest)
      #expect(try client.message()?.number == 0)
      client.close()
    }
    early.close()
    try fixture.eventually { fixture.region.peers.count == 1 }
    let late = try fixture.connect(.guest)
    let last = try late.handshake(peers: 2).id
    #expect(try read(stalled, until: last) == [last])
    late.close()
  }

  @Test func `Who has read least is cut off when too much is kept for him`() throws {
    var limits = PeerLimits(connections: 1024, doors: 4)
    limits.departures = 50
    let fixture = try PeerFixture(limits)
    // He is told of them, and not of their going.
    let crowd = try (0..<100).map { _ in try fixture.connect(.guest) }
    let stalled = try fixture.connect(.host)
    var known = 0
    while known < 100 {
      let message = try #require(try stalled.message())
      if let descriptor = message.descriptor { Glibc.close(descriptor) }
      if message.descriptor != nil { known += 1 }
    }
    // Its own id is the last that is told; what follows fills the socket.
    for client in crowd { client.close() }
    #expect(try fixture.takeLines(1)[0].contains("does not read"))
    try fixture.eventually { fixture.region.peers.isEmpty }
    _ = try fixture.connect(.host).handshake(peers: 1)
  }

  /// Each of them is told of the others' going, and has gone.
  @Test func `A crowd that goes at once is let go`() throws {
    ResourceLimits.raiseDescriptors()
    let fixture = try PeerFixture(PeerLimits(connections: 4000, doors: 4))
    var crowd: [PeerClient] = []
    for _ in 0..<1000 {
      for end in End.allCases { crowd.append(try fixture.connect(end)) }
    }
    try fixture.eventually { fixture.region.peers.count == crowd.count }
    for client in crowd { client.close() }
    try fixture.eventually { fixture.region.peers.isEmpty }
    _ = try fixture.connect(.host).handshake(peers: 1)
  }

  @Test func `A crowd that is there keeps the end from nobody`() throws {
    ResourceLimits.raiseDescriptors()
    let fixture = try PeerFixture(PeerLimits(connections: 4000, doors: 4))
    var crowd: [PeerClient] = []
    for _ in 0..<1000 {
      for end in End.allCases { crowd.append(try fixture.connect(end)) }
    }
    fixture.server.stop()
    for client in crowd { while try client.message() != nil {} }
  }

  @Test func `There are only so many doors, and the oldest is closed first`() throws {
    let fixture = try PeerFixture(PeerLimits(connections: 64, doors: 8))
    let regions = try (0..<12).map {
      try fixture.engine.create(PeerFixture.configuration("door\($0)"))
    }
    let victim = try fixture.openDoor(.guest, for: 5)
    let paths = try regions.map { try fixture.openDoor(.guest, of: $0, for: 33) }
    let open = paths.filter { UnixSocket.isListening(at: $0) }
    #expect(open == Array(paths.suffix(4)))
    #expect(UnixSocket.isListening(at: victim))
    let more = try regions.map { try fixture.openDoor(.host, of: $0) }
    #expect(more.filter { UnixSocket.isListening(at: $0) } == Array(more.suffix(8)))
  }
}
