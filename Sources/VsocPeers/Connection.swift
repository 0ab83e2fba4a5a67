// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine

/// A connected socket of a peer, or of somebody who may become one.
///
/// What is to be sent is made when there is room for it: nothing is kept for those who do not read but how far
/// they are. Only the thread of the server touches it.
class Connection {
  /// What goes out as a whole.
  struct Message {
    var bytes: [UInt8]
    var events: [SharedEvent] = []
    var memory: PeerMemory?

    var descriptors: [Int32] {
      events.map { $0.descriptor.raw } + (memory.map { [$0.descriptor.raw] } ?? [])
    }
  }

  /// Messages that go to one of them before others have their turn.
  private static let burst = 64

  let socket: Descriptor
  let token: UInt64
  /// Who has connected.
  let user: UInt32
  /// Whether the loop looks for room.
  var isWaitingForRoom = false
  /// Whether it is among those that the loop will send to.
  var isQueued = false
  /// The part that it has taken.
  var peer: (region: Region, peer: Peer)?

  init(_ socket: consuming Descriptor, token: UInt64, user: UInt32) {
    self.socket = socket
    self.token = token
    self.user = user
  }

  /// Sends what there is room for.
  ///
  /// - Returns: whether something is left.
  func flush() throws(ConnectionEnd) -> Bool {
    for _ in 0..<Self.burst {
      guard let message = nextMessage() else { return false }
      do throws(Errno) {
        try UnixSocket.send(message.bytes, descriptors: message.descriptors, to: socket)
      } catch .wouldBlock {
        return true
      } catch {
        throw .gone
      }
      hasSent()
    }
    return nextMessage() != nil
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

  /// What is to be sent next, the same until that was done.
  func nextMessage() -> Message? { nil }

  /// The next message was sent.
  func hasSent() {}

  /// It takes part no more.
  func leave(_ loop: PeerLoop) {}
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
