// SPDX-License-Identifier: Apache-2.0

package import LinuxSystem
package import VsocEngine
package import VsocProtocol

/// A place where virtual machines connect to an end of a region.
package struct Door: Sendable {
  let region: Region
  let end: End
  let bind: PeerServer.Binding

  package init(to end: End, of region: Region, bind: @escaping PeerServer.Binding) {
    self.region = region
    self.end = end
    self.bind = bind
  }
}

/// A socket that listens, until somebody takes it.
package final class BoundSocket: Sendable {
  private let socket: Lock<Descriptor?>
  /// Makes what each connection keeps for as long as it lasts, if anything.
  let pin: (@Sendable () -> (any Sendable & AnyObject)?)?

  package init(
    _ socket: consuming Descriptor, pin: (@Sendable () -> (any Sendable & AnyObject)?)? = nil
  ) {
    self.socket = Lock(socket)
    self.pin = pin
  }

  func take() -> Descriptor? { socket.withLock { $0.take() } }
}
