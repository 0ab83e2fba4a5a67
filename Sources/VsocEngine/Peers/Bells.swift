// SPDX-License-Identifier: Apache-2.0

package import LinuxSystem
internal import SystemPackage
package import VsocProtocol

/// What kind of participant a peer is.
package enum PeerKind: Hashable, Sendable, CaseIterable {
  /// A virtual machine with an ivshmem device.
  case vm
  /// A program that came by the host socket.
  case hostClient

  package var name: String {
    switch self {
    case .vm: "vm"
    case .hostClient: "host-client"
    }
  }
}

/// A participant outside the mount that has taken the part of one end of a region: it has the memory,
/// and hears of rings by an eventfd.
package final class Peer: Sendable {
  package let kind: PeerKind
  /// Unique among those of the region.
  package let id: UInt16
  package let end: End
  /// Rung for it. Its end's bell, if it is the one that has that; else its own.
  package let event: SharedEvent

  init(_ kind: PeerKind, id: UInt16, end: End, event: SharedEvent) {
    self.kind = kind
    self.id = id
    self.end = end
    self.event = event
  }
}

/// The two bells of a region, one for each direction, and what tells that they were rung.
final class BellPair: Sendable {
  let guest: SharedEvent
  let host: SharedEvent
  /// Readable while one of them was rung since `takeRung`.
  let epoll: Epoll

  init(_ ringer: Ringer) throws(Errno) {
    guest = try SharedEvent(ringer)
    host = try SharedEvent(ringer)
    epoll = try Epoll()
    for end in End.allCases { try epoll.addEdges(of: self[end].descriptor, token: end.token) }
    // The first report comes of itself: nobody else has them to ring.
    _ = try epoll.poll()
  }

  subscript(end: End) -> SharedEvent { end == .guest ? guest : host }

  /// The ends that were rung. Does not wait.
  func takeRung() throws(Errno) -> [End] {
    let tokens = try epoll.poll()
    return End.allCases.filter { tokens.contains($0.token) }
  }
}

/// The bells of a region that has, or had, peers, and who these are.
///
/// A bell is rung by everybody who rings its end, also by peers among one another, without the daemon.
/// The daemon hears each ring (`BellWatch`), and leaves it to the one peer that reads it. So
/// every ring, whatever its source, gets to everybody by the same way, and none is taken for another:
/// whatever was rung before an edge is looked at after it.
struct Bells {
  let pair: BellPair
  private var byID: [UInt16: (peer: Peer, order: UInt64)] = [:]
  private var lastOrder: UInt64 = 0
  private var counts: (guest: Int, host: Int) = (0, 0)
  private var isRead: (guest: Bool, host: Bool) = (false, false)
  private var lastID = Bells.reserved

  /// Ids below are those of the ends as such.
  private static let reserved: UInt16 = 1
  /// As many as an ivshmem device can tell apart.
  private static let capacity = Int(UInt16.max) - Int(reserved)

  init(_ pair: BellPair) { self.pair = pair }

  subscript(end: End) -> SharedEvent { pair[end] }

  /// In the order in which they came.
  var peers: [Peer] { byID.values.sorted { $0.order < $1.order }.map(\.peer) }

  /// What rings those of an end who do not hear its bell.
  func otherEvents(at end: End) -> [SharedEvent] {
    byID.values.compactMap { entry in
      let peer = entry.peer
      return peer.end == end && peer.event !== self[end] ? peer.event : nil
    }
  }

  func hasPeers(at end: End) -> Bool { (end == .guest ? counts.guest : counts.host) > 0 }

  /// A new peer, whose id has not been used for as long as possible.
  ///
  /// - Throws: EMFILE: there are too many.
  mutating func add(
    _ kind: PeerKind, at end: End, _ ringer: Ringer
  ) throws(Errno) -> Peer {
    guard byID.count < Self.capacity else { throw .tooManyOpenFiles }
    // One that could read what is meant for others as well is given a bell of its own.
    let reads = kind == .vm && !(end == .guest ? isRead.guest : isRead.host)
    let event: SharedEvent
    if reads { event = self[end] } else { event = try SharedEvent(ringer) }
    repeat {
      lastID = lastID == .max ? Self.reserved + 1 : lastID + 1
    } while byID[lastID] != nil
    let peer = Peer(kind, id: lastID, end: end, event: event)
    lastOrder += 1
    byID[lastID] = (peer, lastOrder)
    count(peer, 1)
    return peer
  }

  mutating func remove(_ peer: Peer) {
    guard byID[peer.id]?.peer === peer else { return }
    byID.removeValue(forKey: peer.id)
    count(peer, -1)
  }

  private mutating func count(_ peer: Peer, _ change: Int) {
    let reads = peer.event === self[peer.end]
    switch peer.end {
    case .guest:
      counts.guest += change
      if reads { isRead.guest = change > 0 }
    case .host:
      counts.host += change
      if reads { isRead.host = change > 0 }
    }
  }
}

extension End {
  /// The id of an end as such, among those of peers.
  package var peerID: UInt16 { UInt16(rawValue) }

  fileprivate var token: UInt64 { UInt64(rawValue) }
}
