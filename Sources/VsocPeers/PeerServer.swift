// SPDX-License-Identifier: Apache-2.0

package import LinuxSystem
package import Logging
package import SystemPackage
package import VsocEngine
internal import VsocProtocol

/// Lets participants from outside the mount take part in regions (SPEC §9): virtual machines by sockets
/// in the tree, host clients by one outside.
///
/// One thread, `vsoc-peers`, has all the sockets and never waits for a peer. Its methods may be called
/// from any thread.
package final class PeerServer: Sendable {
  /// Opens a region's memory for somebody else; called in the server's thread, and may wait for requests of the
  /// file system.
  package typealias MemorySource = @Sendable (Region) throws(Errno) -> Descriptor

  /// Makes the socket of a door; called in the server's thread, and may wait as well.
  package typealias Binding = @Sendable () throws(Errno) -> BoundSocket

  /// Makes what a connection keeps for as long as it lasts.
  package typealias Pinning = @Sendable () throws(Errno) -> any Sendable & AnyObject

  private struct OpenDoor {
    let door: Door
    let then: @Sendable () -> Void
  }

  private struct Commands: ~Copyable {
    var doors = FairQueue<OpenDoor>()
    var hostSocket: HostSocket?
    var isStopped = false
  }

  /// Doors that are opened in one turn of the loop.
  private static let doorsPerTurn = 16

  private let commands = Lock(Commands())
  private let event: EventDescriptor
  private let end: Semaphore

  /// Starts the thread.
  ///
  /// - Parameter log: told of what has no caller to be told.
  package init(
    engine: Engine, limits: PeerLimits, memory: @escaping MemorySource, log: Logger
  ) throws(Errno) {
    event = try EventDescriptor()
    end = try Semaphore()
    engine.prepareForPeers()
    let handover = Handover(
      try PeerLoop(
        engine: engine, memory: memory, limits: limits, commands: event.descriptor, log: log))
    try Thread.start(name: "vsoc-peers") { [self] in
      handover.loop.run { carryOut(handover.loop) }
      handover.loop.endAll()
      refuseRest()
      end.signal()
    }
  }

  /// The loop belongs to the thread that it is given to.
  private final class Handover: @unchecked Sendable {
    let loop: PeerLoop
    init(_ loop: PeerLoop) { self.loop = loop }
  }

  /// Somebody has looked at the door: it is open when `then` is called, in any thread, and for a while after.
  package func open(_ door: Door, then: @escaping @Sendable () -> Void) {
    let isTaken = commands.withLock { commands in
      guard !commands.isStopped else { return false }
      commands.doors.append(OpenDoor(door: door, then: then), of: door.user)
      return true
    }
    if isTaken { event.signal() } else { then() }
  }

  package func listen(_ socket: HostSocket) {
    commands.withLock { $0.hostSocket = socket }
    event.signal()
  }

  /// Ends all connections, and the thread, which waits for nobody.
  package func stop() {
    let isFirst = commands.withLock { commands in
      defer { commands.isStopped = true }
      return !commands.isStopped
    }
    guard isFirst else { return }
    event.signal()
    end.wait()
  }

  private func carryOut(_ loop: PeerLoop) -> Bool {
    event.clear()
    let (isStopped, socket, isMore, doors) = commands.withLock { commands in
      var doors: [OpenDoor] = []
      while doors.count < Self.doorsPerTurn, let door = commands.doors.popFirst() {
        doors.append(door)
      }
      return (commands.isStopped, commands.hostSocket.take(), !commands.doors.isEmpty, doors)
    }
    if isMore { event.signal() }
    if let socket, !isStopped { loop.listen(socket) }
    for command in doors {
      if !isStopped { loop.openDoor(command.door) }
      command.then()
    }
    return !isStopped
  }

  /// Nobody comes any more, whoever waits for that.
  private func refuseRest() {
    let rest = commands.withLock { commands in
      commands.isStopped = true
      var rest: [OpenDoor] = []
      while let door = commands.doors.popFirst() { rest.append(door) }
      return rest
    }
    for command in rest { command.then() }
  }
}
