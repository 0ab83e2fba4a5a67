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
  let end: End
  private let makePin: PeerServer.Pinning?
  /// Keeps the mount from being unmounted.
  private var pin: (any Sendable & AnyObject)?

  /// Where it stands among those of its end.
  var place = 0
  private var gathering: Gathering?
  /// When it came.
  private var arrival: Roll.Time = 0
  /// What rings the other end.
  private var bell: SharedEvent?
  /// What it is told before it is told of others, in reverse.
  private var greeting: [Message] = []
  /// What it has been told of those of the other end.
  private(set) var reader: Roll.Reader?
  /// Those who are there until then it is told of before it gets its own interrupt: some guests look for a
  /// partner when they have that.
  private var introduction: Roll.Time?

  init(
    _ socket: consuming Descriptor, token: UInt64, user: UInt32, _ region: Region, _ end: End,
    pin: PeerServer.Pinning?
  ) {
    self.region = region
    self.end = end
    makePin = pin
    super.init(socket, token: token, user: user)
  }

  private static func message(
    _ number: Int64, event: SharedEvent? = nil, memory: PeerMemory? = nil
  ) -> Message {
    Message(
      bytes: [UInt8](of: number.littleEndian), events: event.map { [$0] } ?? [], memory: memory)
  }

  /// For one that is not even served. Its socket is new, and so has room.
  static func refuse(_ socket: borrowing Descriptor) {
    do throws(Errno) {
      try UnixSocket.send(message(refusal).bytes, to: socket)
    } catch {
      // It has gone by itself.
    }
  }

  /// The end of a connection that gets nothing else.
  private func refused(_ reason: String) -> ConnectionEnd {
    Self.refuse(socket)
    return .refused(reason)
  }

  /// Nothing is sent before all of it can be: an end in the middle of the handshake makes QEMU spin, a
  /// size that is no power of two aborts it. And nothing before it is among those who are told of others: who
  /// goes meanwhile is told of as anybody.
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
      pin = try makePin?()
      memory = PeerMemory(try loop.memory(region))
      peer = try region.attach(.vm, at: end)
    } catch {
      throw refused("region \"\(region.name)\" cannot be given to a virtual machine: \(error)")
    }
    self.peer = (region, peer)
    bell = region.bell(of: end.peer)
    // The id by which everybody there is rung, then each of them.
    greeting = [
      Self.message(Int64(end.peer.peerID), event: bell),
      Self.message(Self.memoryFollows, memory: memory), Self.message(Int64(peer.id)),
      Self.message(Self.version),
    ]
    let gathering = loop.gathering(in: region)
    introduction = gathering[end.peer].roll.last
    reader = Roll.Reader(of: gathering[end.peer].roll)
    arrival = gathering.enter(self, peer.id)
    self.gathering = gathering
    loop.hasChanged(gathering)
  }

  override func nextMessage() -> Message? {
    if let message = greeting.last { return message }
    guard let peer else { return nil }
    let news = nextNews()
    if isToBeIntroduced(before: news) {
      return Self.message(Int64(peer.peer.id), event: peer.peer.event)
    }
    return news.map { Self.message(Int64($0.id), event: $0.isGone ? nil : bell) }
  }

  override func hasSent() {
    guard greeting.popLast() == nil else { return }
    let news = nextNews()
    if isToBeIntroduced(before: news) {
      introduction = nil
    } else if let news {
      reader?.wasTold(news)
    }
  }

  private func nextNews() -> Roll.News? {
    guard let gathering, var reader else { return nil }
    defer { self.reader = reader }
    return gathering[end.peer].roll.next(for: &reader)
  }

  private func isToBeIntroduced(before news: Roll.News?) -> Bool {
    guard let introduction else { return false }
    guard let news else { return true }
    return !news.isGone && news.time > introduction
  }

  override func becameReadable(_ loop: PeerLoop) throws(ConnectionEnd) {
    if try receive(1) != nil { throw .gone }
  }

  override func leave(_ loop: PeerLoop) {
    guard let gathering else { return }
    gathering.leave(self, since: arrival)
    loop.hasChanged(gathering)
    self.gathering = nil
  }
}
