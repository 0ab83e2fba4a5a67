// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine

/// A connected socket of a peer, or of somebody who may become one, with what is still to be sent there.
/// Only the thread of the server touches it.
class Connection {
  /// What goes out as a whole, with descriptors that are kept until then.
  struct Message {
    var bytes: [UInt8]
    var events: [SharedEvent] = []
    var memory: PeerMemory?

    var descriptors: [Int32] {
      events.map { $0.descriptor.raw } + (memory.map { [$0.descriptor.raw] } ?? [])
    }
  }

  /// Messages, beside those of the handshake, that are kept for somebody who does not read them.
  private static let patience = 4096

  let socket: Descriptor
  let token: UInt64
  private var outgoing: [Message] = []
  private var next = 0
  private var limit = Connection.patience
  /// Whether the loop looks for room.
  var isWaitingForRoom = false
  /// The part that it has taken.
  fileprivate(set) var peer: (region: Region, peer: Peer)?

  init(_ socket: consuming Descriptor, token: UInt64) {
    self.socket = socket
    self.token = token
  }

  var hasOutgoing: Bool { next < outgoing.count }

  /// Begins to take part, with all that is to be said first: it is sent, or kept until there is room.
  func begin(
    _ region: Region, _ peer: Peer, handshake: [Message]
  ) throws(ConnectionEnd) {
    self.peer = (region, peer)
    limit += handshake.count
    try send(handshake)
  }

  func send(_ messages: [Message]) throws(ConnectionEnd) {
    guard outgoing.count - next + messages.count <= limit else {
      throw .refused("a peer that does not read is cut off")
    }
    outgoing += messages
    try flush()
  }

  /// Sends what there is room for.
  func flush() throws(ConnectionEnd) {
    while next < outgoing.count {
      let message = outgoing[next]
      do throws(Errno) {
        try UnixSocket.send(message.bytes, descriptors: message.descriptors, to: socket)
      } catch .wouldBlock {
        return
      } catch {
        throw .gone
      }
      next += 1
    }
    outgoing.removeAll()
    next = 0
  }

  /// What has come, up to `count` bytes; nil if there is nothing.
  func receive(_ count: Int) throws(ConnectionEnd) -> [UInt8]? {
    do throws(Errno) {
      guard let bytes = try UnixSocket.receive(count, from: socket) else { return nil }
      guard !bytes.isEmpty else { throw Errno.brokenPipe }
      return bytes
    } catch {
      throw .gone
    }
  }

  // MARK: What kinds of connections differ in

  /// It was accepted.
  func start(_ loop: PeerLoop) throws(ConnectionEnd) {}

  /// There is something to receive, or an end.
  func becameReadable(_ loop: PeerLoop) throws(ConnectionEnd) {}

  /// Another peer of the region has come.
  func hasCome(_ other: Peer) throws(ConnectionEnd) {}

  /// Another peer of the region has gone, whose id means nobody from now on.
  func hasGone(_ other: Peer) throws(ConnectionEnd) {}
}

/// Why a connection ends.
enum ConnectionEnd: Error, Hashable {
  /// The other side has closed it, or has said what it must not.
  case gone
  /// What is to be told to whoever reads the log.
  case refused(String)
}

/// A descriptor of a region's memory, to be sent.
final class PeerMemory: Sendable {
  let descriptor: Descriptor

  init(_ descriptor: consuming Descriptor) {
    self.descriptor = descriptor
  }
}

extension [UInt8] {
  /// The bytes of a number as it lies in memory.
  init(of number: some FixedWidthInteger) {
    self = unsafe Swift.withUnsafeBytes(of: number) { unsafe Array($0) }
  }
}
