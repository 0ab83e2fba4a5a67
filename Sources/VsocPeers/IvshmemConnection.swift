// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// A virtual machine's connection: the server's side of QEMU's ivshmem protocol, version 0 (SPEC §12).
///
/// Each message is a little-endian 64-bit number, with a descriptor or without. The client never says
/// anything; whatever comes from it is its end.
final class IvshmemConnection: Connection {
  private static let version: Int64 = 0
  /// No version at all: QEMU ends at it with a message, while it spins at a mere end of the connection.
  private static let refusal: Int64 = -1
  /// Says that the memory's descriptor comes with it.
  private static let memoryFollows: Int64 = -1

  private let region: Region
  private let end: End
  /// Keeps the mount from being unmounted.
  private let pin: (any Sendable & AnyObject)?

  init(
    _ socket: consuming Descriptor, token: UInt64, _ region: Region, _ end: End,
    pin: (any Sendable & AnyObject)?
  ) {
    self.region = region
    self.end = end
    self.pin = pin
    super.init(socket, token: token)
  }

  private static func message(
    _ number: Int64, event: SharedEvent? = nil, memory: PeerMemory? = nil
  ) -> Message {
    Message(
      bytes: [UInt8](of: number.littleEndian), events: event.map { [$0] } ?? [], memory: memory)
  }

  /// For one that is not even served.
  static func refuse(_ socket: borrowing Descriptor) {
    try? UnixSocket.send(message(refusal).bytes, to: socket)
  }

  /// The end of a connection that gets nothing else.
  private func refused(_ reason: String) -> ConnectionEnd {
    try? send([Self.message(Self.refusal)])
    return .refused(reason)
  }

  /// Nothing is sent before all of it can be: an end in the middle of the handshake makes QEMU spin, a
  /// size that is no power of two aborts it.
  override func start(_ loop: PeerLoop) throws(ConnectionEnd) {
    let size = region.configuration.geometry.size
    guard !region.isManaged else {
      throw refused(
        "region \"\(region.name)\" is managed, and no virtual machine can have it (EPERM): attach to one without managed_by"
      )
    }
    guard size & (size - 1) == 0 else {
      throw refused(
        "region \"\(region.name)\" has \(size) bytes, and a virtual machine can only have a power of two: make another one (truncate its data before anybody has opened it, or give its size in the layout)"
      )
    }
    let memory: PeerMemory
    let peer: Peer
    do throws(Errno) {
      memory = PeerMemory(try loop.memory(region))
      peer = try region.attach(.vm, at: end)
    } catch {
      throw refused("region \"\(region.name)\" cannot be given to a virtual machine: \(error)")
    }
    // The id by which everybody there is rung, then each of them: some guests look for a partner.
    let others = region.peers.filter { $0.kind == .vm && $0.end == end.peer }.map(\.id)
    let bell = region.bell(of: end.peer)
    var messages = [
      Self.message(Self.version), Self.message(Int64(peer.id)),
      Self.message(Self.memoryFollows, memory: memory),
    ]
    messages += ([end.peer.peerID] + others).map { Self.message(Int64($0), event: bell) }
    messages.append(Self.message(Int64(peer.id), event: peer.event))
    try begin(region, peer, handshake: messages)
    loop.tell(of: peer, in: region) { (other, peer) throws(ConnectionEnd) in
      try other.hasCome(peer)
    }
  }

  override func becameReadable(_ loop: PeerLoop) throws(ConnectionEnd) {
    if try receive(1) != nil { throw .gone }
  }

  override func hasCome(_ other: Peer) throws(ConnectionEnd) {
    guard other.kind == .vm, other.end == end.peer else { return }
    try send([Self.message(Int64(other.id), event: region.bell(of: other.end))])
  }

  override func hasGone(_ other: Peer) throws(ConnectionEnd) {
    guard other.kind == .vm, other.end == end.peer else { return }
    try send([Self.message(Int64(other.id))])
  }
}
