// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// What the thread of the server has: listening sockets, connections, and the wait for them. It belongs
/// to that thread alone.
///
/// Its work comes in turns, each of which does a little for everybody: however many connections somebody has,
/// and whatever he does with them, others have their turn soon.
final class PeerLoop {
  enum Token {
    static let (commands, timer, listeners, connections): (UInt64, UInt64, UInt64, UInt64) =
      (0, 1, 2, 3)
  }

  /// Those to whom something is sent in one turn.
  private static let sendsPerTurn = 64

  let engine: Engine
  let limits: PeerLimits
  let log: Logger
  private let memoryOf: PeerServer.MemorySource
  let epoll: Epoll
  let timer: TimerDescriptor
  private let connectionSet: Epoll
  private var lastToken: UInt64 = 0
  private var connections: [UInt64: Connection] = [:]
  private var shares: UserShares
  /// By index of the region.
  private var gatherings: [UInt32: Gathering] = [:]
  private var changed: [Gathering] = []
  /// Who may have something coming.
  private var queue: [Connection] = []
  private var next = 0
  private var isEnding = false

  // What PeerLoop+Listening has.
  let listenerSet: Epoll
  var listeners: [UInt64: Listener] = [:]
  var isPaused = false

  init(
    engine: Engine, memory: @escaping PeerServer.MemorySource, limits: PeerLimits,
    commands: borrowing Descriptor, log: Logger
  ) throws(Errno) {
    self.engine = engine
    memoryOf = memory
    self.limits = limits
    self.log = log
    shares = UserShares(of: limits.connections, trusted: limits.trusted)
    epoll = try Epoll()
    timer = try TimerDescriptor()
    listenerSet = try Epoll()
    connectionSet = try Epoll()
    try epoll.add(commands, token: Token.commands)
    try epoll.add(timer.descriptor, token: Token.timer)
    try epoll.add(listenerSet, token: Token.listeners)
    try epoll.add(connectionSet, token: Token.connections)
  }

  /// A descriptor of a region's memory, for somebody else.
  func memory(_ region: Region) throws(Errno) -> Descriptor { try memoryOf(region) }

  func nextToken() -> UInt64 {
    lastToken += 1
    return lastToken
  }

  // MARK: - Connections

  /// Lets somebody in who has connected, or refuses him.
  func begin(_ socket: consuming Descriptor, by listener: Listener) {
    let user: UInt32
    do throws(Errno) {
      user = try UnixSocket.user(of: socket)
      try UnixSocket.limitOutgoing(of: socket)
    } catch {
      return log.error("a connection cannot be served: \(error)")
    }
    guard shares.take(for: user) else {
      if case .door = listener.purpose { IvshmemConnection.refuse(socket) }
      return log.warning(
        "\(connections.count) of \(limits.connections) connections are taken, at most half of them by one user: another one of user \(user) is refused"
      )
    }
    let token = nextToken()
    let connection: Connection =
      switch listener.purpose {
      case .door(let door, let pin):
        IvshmemConnection(socket, token: token, user: user, door.region, door.end, pin: pin)
      case .hostSocket:
        HostClientConnection(socket, token: token, user: user)
      }
    connections[token] = connection
    do throws(Errno) {
      try connectionSet.add(connection.socket, token: token)
    } catch {
      return end(connection, .refused("a connection cannot be served: \(error)"))
    }
    attempt(connection) { connection throws(ConnectionEnd) in try connection.start(self) }
  }

  /// Does something that may be the connection's end, and sends what there is to be sent.
  private func attempt(
    _ connection: Connection, _ body: (Connection) throws(ConnectionEnd) -> Void = { _ in }
  ) {
    let wasPeer = connection.peer != nil
    do throws(ConnectionEnd) {
      try body(connection)
      if !wasPeer, let peer = connection.peer {
        log.info("\(Self.described(peer.peer, in: peer.region)) has come")
      }
      let isWaiting = try connection.flush()
      guard isWaiting != connection.isWaitingForRoom else { return }
      do throws(Errno) {
        try connectionSet.watch(
          connection.socket, token: connection.token, forWriting: isWaiting, again: true)
        connection.isWaitingForRoom = isWaiting
      } catch {
        throw .refused("a connection cannot be served any more: \(error)")
      }
    } catch {
      end(connection, error)
    }
  }

  private static func described(_ peer: Peer, in region: Region) -> String {
    "\(peer.kind.name) \(peer.id) at the \(peer.end) end of region \"\(region.name)\""
  }

  private func end(_ connection: Connection, _ reason: ConnectionEnd) {
    guard connections.removeValue(forKey: connection.token) != nil else { return }
    connectionSet.remove(connection.socket)
    shares.giveBack(of: connection.user)
    if case .refused(let line) = reason { log.warning("\(line)") }
    // Before its id can be used again.
    connection.leave(self)
    if let (region, peer) = connection.peer {
      region.detach(peer)
      log.info("\(Self.described(peer, in: region)) has gone")
    }
    if isPaused, !isEnding { resume() }
  }

  // MARK: - Those who are told of one another

  func gathering(in region: Region) -> Gathering {
    if let known = gatherings[region.index] { return known }
    let new = Gathering(region)
    gatherings[region.index] = new
    return new
  }

  /// Somebody has come or gone, which others are told of soon.
  func hasChanged(_ gathering: Gathering) {
    guard !isEnding else { return }
    if gathering.isEmpty { gatherings.removeValue(forKey: gathering.region.index) }
    changed.append(gathering)
  }

  private var hasWork: Bool { !changed.isEmpty || next < queue.count }

  /// Tells some of those who can be told something.
  private func tell() {
    for gathering in changed {
      for end in End.allCases where gathering[end].hasNews {
        gathering[end].hasNews = false
        for member in gathering[end.peer].members
        where !member.isWaitingForRoom && !member.isQueued {
          member.isQueued = true
          queue.append(member)
        }
      }
    }
    let last = changed.popLast()
    changed.removeAll()
    if let last { limitDepartures(last) }
    for connection in queue[next...].prefix(Self.sendsPerTurn) {
      next += 1
      connection.isQueued = false
      if connections[connection.token] === connection { attempt(connection) }
    }
    // Whoever was served is let go with his socket, also while there is always somebody to be served.
    if next > 0, next < queue.count, next >= Self.sendsPerTurn {
      queue.removeFirst(next)
      next = 0
    }
    if next == queue.count {
      queue.removeAll()
      next = 0
    }
  }

  /// Sees to it that no more is kept than may be, for those who do not read: who has read least goes first, where
  /// most is kept.
  private func limitDepartures(_ changed: Gathering) {
    // Looking everywhere is for when it can be too much.
    guard changed.departureCount > limits.departures / max(1, gatherings.count) else { return }
    var sum = gatherings.values.reduce(0) { $0 + $1.departureCount }
    while sum > limits.departures,
      let largest = gatherings.values.max(by: { $0.departureCount < $1.departureCount })
    {
      let before = largest.departureCount
      for end in End.allCases { largest.forget(end) }
      if largest.departureCount == before {
        guard let slowest = largest.slowest else { return }
        end(slowest, .refused("a peer that does not read is cut off"))
      }
      sum -= before - largest.departureCount
    }
  }

  // MARK: - The thread

  /// Waits for events and handles them, until `stop` says so.
  ///
  /// - Parameter commands: called when there are any; false at the end.
  func run(commands: () -> Bool) {
    do throws(Errno) {
      while true {
        for token in try hasWork ? epoll.poll() : epoll.wait() {
          switch token {
          case Token.commands:
            if !commands() { return }
          case Token.timer:
            timerRang()
          case Token.listeners:
            for token in try listenerSet.poll() {
              if let listener = listeners[token] { accept(listener) }
            }
          default:
            for token in try connectionSet.poll() {
              guard let connection = connections[token] else { continue }
              attempt(connection) { connection throws(ConnectionEnd) in
                try connection.becameReadable(self)
              }
            }
          }
        }
        tell()
      }
    } catch {
      log.error("peers are not served any more: \(error)")
    }
  }

  /// Everybody is let go.
  func endAll() {
    isEnding = true
    for connection in connections.values { end(connection, .gone) }
    listeners.removeAll()
    gatherings.removeAll()
  }
}
