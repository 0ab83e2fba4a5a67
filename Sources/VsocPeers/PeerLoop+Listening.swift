// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// Who may come, and where.
extension PeerLoop {
  /// How long a door stays open after somebody looked at it, and nobody listens where no descriptor was
  /// to be had: a second.
  private static let interval: UInt64 = 1_000_000_000
  /// Those who are let in at one socket in one turn.
  private static let acceptsPerTurn = 4

  private static var nextInterval: MonotonicInstant {
    MonotonicInstant(nanoseconds: MonotonicInstant.now.nanoseconds + interval)
  }

  /// Listens for those who come to an end of a region, for a while from now on.
  func openDoor(_ door: Door) {
    let deadline = Self.nextInterval
    if let listener = doors.first(where: { $0.listener.isDoor(to: door) })?.listener {
      listener.deadline = deadline
      return
    }
    makeRoom(for: door.user)
    do throws(Errno) {
      let bound = try door.bind()
      guard let socket = bound.take() else { return }
      try add(Listener(socket, .door(door, bound.pin), until: deadline))
    } catch {
      log.error("nobody can connect to region \"\(door.region.name)\": \(error)")
    }
    setTimer()
  }

  func listen(_ hostSocket: HostSocket) {
    guard let socket = hostSocket.takeSocket() else { return }
    do throws(Errno) {
      try add(Listener(socket, .hostSocket(hostSocket), until: nil))
    } catch {
      log.error("nobody can connect to the host socket: \(error)")
    }
  }

  private func add(_ listener: Listener) throws(Errno) {
    let token = nextToken()
    try listenerSet.add(listener.socket, token: token)
    listeners[token] = listener
  }

  private var doors: [(token: UInt64, listener: Listener, door: Door)] {
    listeners.compactMap { token, listener in
      if case .door(let door, _) = listener.purpose { (token, listener, door) } else { nil }
    }
  }

  /// Closes a door if there are too many, of those that a user has opened if he has half of them.
  private func makeRoom(for user: UInt32) {
    let doors = doors
    let own = doors.filter { $0.door.user == user }
    let isOver = own.count >= max(1, limits.doors / 2) && !limits.trusted.contains(user)
    guard isOver || doors.count >= limits.doors else { return }
    let oldest = (isOver ? own : doors).min {
      $0.listener.deadline ?? .now < $1.listener.deadline ?? .now
    }
    if let oldest { close(oldest.token, oldest.listener) }
  }

  /// Who has come by then is let in.
  private func close(_ token: UInt64, _ listener: Listener) {
    if !isPaused { accept(listener) }
    listenerSet.remove(listener.socket)
    listeners.removeValue(forKey: token)
  }

  private func setTimer() {
    let door = listeners.values.compactMap(\.deadline).min()
    // While nobody is listened to, nobody's door is closed.
    timer.set(isPaused ? Self.nextInterval : door)
  }

  func timerRang() {
    timer.clear()
    if isPaused {
      for listener in listeners.values where listener.deadline != nil {
        listener.deadline = Self.nextInterval
      }
      return resume()
    }
    let now = MonotonicInstant.now
    for (token, listener, _) in doors where listener.deadline.map({ $0 <= now }) ?? false {
      close(token, listener)
    }
    setTimer()
  }

  /// No descriptor can be had: until one may be there again, nobody is listened to, as all of them would
  /// be heard again and again. They wait meanwhile.
  private func pause() {
    guard !isPaused else { return }
    isPaused = true
    epoll.remove(listenerSet)
    setTimer()
  }

  func resume() {
    do throws(Errno) {
      try epoll.add(listenerSet, token: Token.listeners)
      isPaused = false
    } catch {
      log.error("nobody can connect for now: \(error)")
    }
    setTimer()
  }

  func accept(_ listener: Listener) {
    for _ in 0..<Self.acceptsPerTurn where !isPaused {
      do throws(Errno) {
        guard let socket = try UnixSocket.accept(listener.socket) else { return }
        begin(socket, by: listener)
      } catch {
        log.error("a connection cannot be accepted for now: \(error)")
        return pause()
      }
    }
  }
}

/// A socket that listens.
final class Listener {
  enum Purpose {
    case door(Door, PeerServer.Pinning?)
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

  func isDoor(to door: Door) -> Bool {
    guard case .door(let other, _) = purpose else { return false }
    return other.region === door.region && other.end == door.end
  }
}
