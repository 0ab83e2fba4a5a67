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

/// The eventfds of a region that has, or had, peers: one for each direction.
///
/// A bell is rung by everybody who rings its end, also by peers among one another, without the daemon.
/// The daemon hears each ring (`BellWatch`), and leaves it to the one peer that reads it. So
/// every ring, whatever its source, gets to everybody by the same way, and none is taken for another:
/// whatever was rung before an edge is looked at after it.
struct Bells {
  let guest: SharedEvent
  let host: SharedEvent
  var peers: [Peer] = []
  private var lastID = Bells.reserved

  /// Ids below are those of the ends as such.
  private static let reserved: UInt16 = 1
  /// As many as an ivshmem device can tell apart.
  private static let capacity = Int(UInt16.max) - Int(reserved)

  init() throws(Errno) {
    guest = try SharedEvent()
    host = try SharedEvent()
  }

  subscript(end: End) -> SharedEvent { end == .guest ? guest : host }

  /// An id that has not been used for as long as possible; nil if there are too many peers.
  mutating func nextID() -> UInt16? {
    guard peers.count < Self.capacity else { return nil }
    let used = Set(peers.map(\.id))
    repeat {
      lastID = lastID == .max ? Self.reserved + 1 : lastID + 1
    } while used.contains(lastID)
    return lastID
  }
}

extension End {
  /// The id of an end as such, among those of peers.
  package var peerID: UInt16 { UInt16(rawValue) }
}
