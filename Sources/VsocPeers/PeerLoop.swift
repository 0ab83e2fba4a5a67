// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// What the thread of the server has: listening sockets, connections, and the wait for them. It belongs
/// to that thread alone.
final class PeerLoop {
  enum Token { static let (commands, timer): (UInt64, UInt64) = (0, 1) }

  /// Those who may be connected at once, which are fewer than the descriptors that this process may have.
  private let capacity: Int
  /// How long a door stays open after somebody looked at it, and nobody listens where no descriptor was
  /// to be had: a second.
  private static let interval: UInt64 = 1_000_000_000

  private static var nextInterval: MonotonicInstant {
    MonotonicInstant(nanoseconds: MonotonicInstant.now.nanoseconds + interval)
  }

  let engine: Engine
  private let memoryOf: PeerServer.MemorySource
  private let log: Logger
  private let epoll: Epoll
  private let timer: TimerDescriptor
  private var lastToken: UInt64 = Token.timer
  private var listeners: [UInt64: Listener] = [:]
  private var connections: [UInt64: Connection] = [:]
  /// By region: those who are told of one another.
  private var byRegion: [UInt32: [Connection]] = [:]
  private var isPaused = false

  init(
    engine: Engine, memory: @escaping PeerServer.MemorySource, capacity: Int,
    commands: borrowing Descriptor, log: Logger
  ) throws(Errno) {
    self.engine = engine
    memoryOf = memory
    self.capacity = capacity
    self.log = log
    epoll = try Epoll()
    timer = try TimerDescriptor()
    try epoll.add(commands, token: Token.commands)
    try epoll.add(timer.descriptor, token: Token.timer)
  }

  /// A descriptor of a region's memory, for somebody else.
  func memory(_ region: Region) throws(Errno) -> Descriptor { try memoryOf(region) }

  private func nextToken() -> UInt64 {
    lastToken += 1
    return lastToken
  }

  // MARK: - Listening

  /// Listens for those who come to an end of a region, for a while from now on.
  func openDoor(_ door: Door) {
    let deadline = Self.nextInterval
    if let listener = listeners.values.first(where: { $0.isDoor(to: door.region, door.end) }) {
      listener.deadline = deadline
    } else {
      do throws(Errno) {
        let bound = try door.bind()
        guard let socket = bound.take() else { return }
        add(Listener(socket, .door(door.region, door.end, bound.pin), until: deadline))
      } catch {
        log.error("nobody can connect to region \"\(door.region.name)\": \(error)")
      }
    }
    setTimer()
  }

  func listen(_ hostSocket: HostSocket) {
    guard let socket = hostSocket.takeSocket() else { return }
    add(Listener(socket, .hostSocket(hostSocket), until: nil))
  }

  private func add(_ listener: Listener) {
    let token = nextToken()
    listeners[token] = listener
    guard !isPaused else { return }
    try? epoll.add(listener.socket, token: token)
  }

  private func setTimer() {
    let next = listeners.values.compactMap(\.deadline).min()
    let pause = isPaused ? Self.nextInterval : nil
    timer.set([next, pause].compactMap { $0 }.min())
  }

  private func timerRang() {
    timer.clear()
    let now = MonotonicInstant.now
    listeners = listeners.filter { $0.value.deadline.map { $0 > now } ?? true }
    if isPaused { resume() }
    setTimer()
  }

  /// No descriptor can be had: until one may be there again, nobody is listened to, as all of them would
  /// be heard again and again.
  private func pause() {
    guard !isPaused else { return }
    isPaused = true
    for listener in listeners.values { epoll.remove(listener.socket) }
    setTimer()
  }

  private func resume() {
    isPaused = false
    for (token, listener) in listeners {
      try? epoll.add(listener.socket, token: token)
    }
  }

  private func accept(_ listener: Listener) {
    while true {
      let socket: Descriptor?
      do throws(Errno) {
        socket = try UnixSocket.accept(listener.socket)
      } catch {
        log.error("a connection cannot be accepted: \(error)")
        return pause()
      }
      guard let socket else { return }
      guard connections.count < capacity else {
        if case .door = listener.purpose { IvshmemConnection.refuse(socket) }
        log.warning("there are \(capacity) connections already: another one is refused")
        continue
      }
      let token = nextToken()
      let new: Connection =
        switch listener.purpose {
        case .door(let region, let end, let pin):
          IvshmemConnection(socket, token: token, region, end, pin: pin?())
        case .hostSocket:
          HostClientConnection(socket, token: token)
        }
      begin(new)
    }
  }

  // MARK: - Connections

  private func begin(_ connection: Connection) {
    connections[connection.token] = connection
    do throws(Errno) {
      try epoll.add(connection.socket, token: connection.token)
    } catch {
      return end(connection, .gone)
    }
    attempt(connection) { connection throws(ConnectionEnd) in try connection.start(self) }
  }

  /// Does something that may be the connection's end, and looks whether it waits for room afterwards.
  private func attempt(
    _ connection: Connection, _ body: (Connection) throws(ConnectionEnd) -> Void
  ) {
    let wasPeer = connection.peer != nil
    do throws(ConnectionEnd) {
      try body(connection)
    } catch {
      return end(connection, error)
    }
    if !wasPeer, let peer = connection.peer {
      byRegion[peer.region.index, default: []].append(connection)
      log.info("\(Self.described(peer.peer, in: peer.region)) has come")
    }
    guard connection.hasOutgoing != connection.isWaitingForRoom else { return }
    connection.isWaitingForRoom = connection.hasOutgoing
    try? epoll.watch(
      connection.socket, token: connection.token, forWriting: connection.hasOutgoing, again: true)
  }

  private static func described(_ peer: Peer, in region: Region) -> String {
    "\(peer.kind.name) \(peer.id) at the \(peer.end) end of region \"\(region.name)\""
  }

  /// Tells all other peers of a region of one.
  func tell(
    of peer: Peer, in region: Region, _ body: (Connection, Peer) throws(ConnectionEnd) -> Void
  ) {
    for other in byRegion[region.index] ?? [] where other.peer?.peer !== peer {
      attempt(other) { other throws(ConnectionEnd) in try body(other, peer) }
    }
  }

  private func end(_ connection: Connection, _ reason: ConnectionEnd) {
    guard connections.removeValue(forKey: connection.token) != nil else { return }
    epoll.remove(connection.socket)
    if case .refused(let line) = reason { log.warning("\(line)") }
    if let (region, peer) = connection.peer {
      if let index = byRegion[region.index]?.firstIndex(where: { $0 === connection }) {
        byRegion[region.index]?.remove(at: index)
        if byRegion[region.index]?.isEmpty == true { byRegion.removeValue(forKey: region.index) }
        // Before its id can be used again.
        tell(of: peer, in: region) { (other, peer) throws(ConnectionEnd) in
          try other.hasGone(peer)
        }
      }
      region.detach(peer)
      log.info("\(Self.described(peer, in: region)) has gone")
    }
    if isPaused {
      resume()
      setTimer()
    }
  }

  // MARK: - The thread

  /// Waits for events and handles them, until `stop` says so.
  ///
  /// - Parameter commands: called when there are any; false at the end.
  func run(commands: () -> Bool) {
    while let tokens = try? epoll.wait() {
      for token in tokens {
        switch token {
        case Token.commands:
          if !commands() { return }
        case Token.timer:
          timerRang()
        default:
          if let listener = listeners[token] {
            accept(listener)
          } else if let connection = connections[token] {
            attempt(connection) { connection throws(ConnectionEnd) in
              if connection.isWaitingForRoom { try connection.flush() }
              try connection.becameReadable(self)
            }
          }
        }
      }
    }
  }

  /// Everybody is let go.
  func endAll() {
    for connection in connections.values { end(connection, .gone) }
    listeners.removeAll()
  }
}

/// A socket that listens.
final class Listener {
  enum Purpose {
    /// To an end of a region; with what each connection keeps as long as it lasts.
    case door(Region, End, (@Sendable () -> (any Sendable & AnyObject)?)?)
    case hostSocket(HostSocket)
  }

  let socket: Descriptor
  let purpose: Purpose
  var deadline: MonotonicInstant?

  init(_ socket: consuming Descriptor, _ purpose: Purpose, until deadline: MonotonicInstant?) {
    self.socket = socket
    self.purpose = purpose
    self.deadline = deadline
  }

  func isDoor(to region: Region, _ end: End) -> Bool {
    if case .door(let other, let otherEnd, _) = purpose {
      other === region && otherEnd == end
    } else {
      false
    }
  }
}
