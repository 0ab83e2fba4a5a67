// SPDX-License-Identifier: Apache-2.0

package import LinuxSystem
package import VsocEngine
package import VsocProtocol

/// A place where virtual machines connect to an end of a region.
package struct Door: Sendable {
  let region: Region
  let end: End
  /// Who has looked at it.
  let user: UInt32
  let bind: PeerServer.Binding

  package init(
    to end: End, of region: Region, for user: UInt32, bind: @escaping PeerServer.Binding
  ) {
    self.region = region
    self.end = end
    self.user = user
    self.bind = bind
  }
}

/// A socket that listens, until somebody takes it.
package final class BoundSocket: Sendable {
  private let socket: Lock<Descriptor?>
  let pin: PeerServer.Pinning?

  package init(_ socket: consuming Descriptor, pin: PeerServer.Pinning? = nil) {
    self.socket = Lock(socket)
    self.pin = pin
  }

  func take() -> Descriptor? { socket.withLock { $0.take() } }
}
