// SPDX-License-Identifier: Apache-2.0

package import FuseSession
internal import Glibc
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine
internal import VsocPeers
internal import VsocProtocol

/// How the sockets of the tree come to be listened to.
protocol SocketBinding: Sendable {
  /// Sees to it that somebody listens at an end of a region, and calls back.
  ///
  /// - Parameter user: who looks.
  func open(
    _ end: End, of region: Region, for user: UInt32, then: @escaping @Sendable () -> Void)
}

/// Has the server of peers listen, at sockets that the daemon binds in its own mount.
struct TreeSockets: SocketBinding {
  let server: PeerServer
  let own: OwnAccess

  func open(
    _ end: End, of region: Region, for user: UInt32, then: @escaping @Sendable () -> Void
  ) {
    let node = Node.file(Node.RegionEnd(region: region.index, end: end), .ivshmem).number
    let own = own
    server.open(
      Door(to: end, of: region, for: user) { () throws(Errno) in try own.bindSocket(to: node) },
      then: then)
  }
}

/// `ivshmem`: a socket that is bound when somebody looks at it (SPEC §9, §10.9).
///
/// A bound socket keeps its mount in use, and costs a descriptor. So nobody listens until somebody looks
/// the name up, as connect(2) does; the answer waits until somebody does.
extension VsocFileSystem {
  func lookupSocket(
    _ request: consuming Request<Answer.Entry>, _ end: Node.RegionEnd, _ attributes: NodeAttributes
  ) {
    let node = Node.file(end, .ivshmem).number
    guard let binding = sockets.withLock({ $0 }), let region = engine.region(end.region) else {
      request.reply(node: node, attributes, entryTimeout: 0)
      return
    }
    let user = request.caller.uid
    let waiting = Waiting(request)
    binding.open(end.end, of: region, for: user) {
      waiting.take()?.reply(node: node, attributes, entryTimeout: 0)
    }
  }

  /// A region's memory, to be given to somebody outside. A file that he could make longer or shorter he
  /// gets by way of the mount.
  func memory(of region: Region, _ own: OwnAccess) throws(Errno) -> Descriptor {
    let file = try region.seal()
    if case .passthrough = mode, file.kind == .memory {
      return try file.descriptor.reopen(forWriting: true)
    }
    return try own.open(.region(region.index))
  }

  private final class Waiting: Sendable {
    private let request: Lock<Request<Answer.Entry>?>
    init(_ request: consuming Request<Answer.Entry>) { self.request = Lock(request) }
    func take() -> Request<Answer.Entry>? { request.withLock { $0.take() } }
  }

  /// The daemon binds a socket by a name of its own: its node is that of the file in the tree, by which
  /// the kernel finds the socket.
  package func makeNode(
    _ request: consuming Request<Answer.Entry>, parent number: UInt64, name: String, mode: UInt32
  ) {
    guard Node(number) == .own, mode & S_IFMT == S_IFSOCK, waitsItself(request.caller.pid),
      case .socket(let socket, _)? = OwnAccess.HiddenName(name),
      let node = Node(socket), node.isSocket, let attributes = attributes(of: node)
    else { return request.fail(.notPermitted) }
    request.reply(node: socket, attributes, entryTimeout: 0)
  }
}
