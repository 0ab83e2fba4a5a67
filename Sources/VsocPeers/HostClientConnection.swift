// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// A host client's connection (SPEC §9, §12): it names a region, and takes part at its host end.
///
/// Numbers are in the machine's order. The server says its version; the client the length of a name, and
/// the name; the server 8 bytes of zero, with three descriptors.
final class HostClientConnection: Connection {
  private static let version: UInt32 = 0
  private static let lengthSize = MemoryLayout<Int16>.size
  private static let lengths = 1...16

  private var received: [UInt8] = []
  /// Its version first, and what it has asked for.
  private var outgoing = [Message(bytes: [UInt8](of: HostClientConnection.version))]

  override func nextMessage() -> Message? { outgoing.first }

  override func hasSent() { outgoing.removeFirst() }

  override func becameReadable(_ loop: PeerLoop) throws(ConnectionEnd) {
    let wanted = try wanted()
    // Whoever has what he asked for has nothing more to say.
    guard let bytes = try receive(max(1, wanted - received.count)), peer == nil else {
      if peer != nil { throw .gone }
      return
    }
    received += bytes
    let total = try self.wanted()
    if received.count == total, total > Self.lengthSize { try join(loop) }
  }

  /// How many bytes the client has to say, as far as that is known.
  private func wanted() throws(ConnectionEnd) -> Int {
    guard received.count >= Self.lengthSize else { return Self.lengthSize }
    let length = unsafe received.withUnsafeBytes { unsafe $0.loadUnaligned(as: Int16.self) }
    guard Self.lengths.contains(Int(length)) else {
      throw .refused("a host client names a region with \(length) bytes: it must be 1 to 16")
    }
    return Self.lengthSize + Int(length)
  }

  private func join(_ loop: PeerLoop) throws(ConnectionEnd) {
    let text = String(decoding: received.dropFirst(Self.lengthSize), as: UTF8.self)
    guard let name = RegionName(text), let region = loop.engine.region(named: name) else {
      throw .refused("a host client names region \(text.debugDescription), which there is not")
    }
    let memory: PeerMemory
    let peer: Peer
    do throws(Errno) {
      guard !region.isManaged else { throw Errno.notPermitted }
      memory = PeerMemory(try loop.memory(region))
      peer = try region.attach(.hostClient, at: .host)
    } catch {
      throw .refused("region \"\(name)\" cannot be given to a host client: \(error)")
    }
    guard let bell = region.bell(of: .guest) else { throw .gone }
    let answer = Message(
      bytes: [UInt8](repeating: 0, count: 8), events: [peer.event, bell], memory: memory)
    self.peer = (region, peer)
    outgoing.append(answer)
  }
}
