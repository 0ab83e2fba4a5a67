// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import VsocEngine

/// How much all peers may have together. No user but the trusted ones has more than half of the connections and
/// doors.
package struct PeerLimits: Sendable {
  /// Those who are connected at once.
  package var connections: Int
  /// Sockets of the tree that are listened to at once.
  package var doors: Int
  /// What is kept of those who have gone, for those who have not read it yet: 24 bytes each.
  package var departures = 1 << 19
  let trusted = UserShares.Trusted(daemon: geteuid())

  /// A socket, an event, its region's two bells and their wait, its file, and the memory and the place that are
  /// opened for it.
  private static let descriptorsPerConnection = 8
  private static let mostDoors = 256
  /// What a daemon has open that does nothing.
  private static let reserve = 32

  package init(connections: Int, doors: Int) {
    self.connections = connections
    self.doors = doors
  }

  /// - Parameter descriptors: how many the daemon may have.
  package init(descriptors: Int) {
    connections = max(4, (descriptors - Self.reserve) / Self.descriptorsPerConnection)
    doors = min(Self.mostDoors, max(2, descriptors / 32))
  }
}
