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

  private enum Command {
    case openDoor(Door, then: @Sendable () -> Void)
    case listen(HostSocket)
    case stop
  }

  private struct Commands: ~Copyable {
    var queue: [Command] = []
    var isStopped = false
  }

  private let commands = Lock(Commands())
  private let event: EventDescriptor
  private let end: Semaphore

  /// Starts the thread.
  ///
  /// - Parameters:
  ///   - capacity: of connections.
  ///   - log: told of what has no caller to be told.
  package init(
    engine: Engine, capacity: Int, memory: @escaping MemorySource,
    log: Logger
  ) throws(Errno) {
    event = try EventDescriptor()
    end = try Semaphore()
    let handover = Handover(
      try PeerLoop(
        engine: engine, memory: memory, capacity: capacity, commands: event.descriptor, log: log))
    try Thread.start(name: "vsoc-peers") { [self] in
      handover.loop.run { carryOut(handover.loop) }
      handover.loop.endAll()
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
    if !add(.openDoor(door, then: then)) { then() }
  }

  package func listen(_ socket: HostSocket) { _ = add(.listen(socket)) }

  /// Ends all connections, and the thread.
  package func stop() {
    if add(.stop) { end.wait() }
  }

  private func add(_ command: Command) -> Bool {
    let isTaken = commands.withLock { commands in
      guard !commands.isStopped else { return false }
      commands.queue.append(command)
      if case .stop = command { commands.isStopped = true }
      return true
    }
    if isTaken { event.signal() }
    return isTaken
  }

  private func take() -> [Command] {
    commands.withLock { commands in
      let queue = commands.queue
      commands.queue = []
      return queue
    }
  }

  private func carryOut(_ loop: PeerLoop) -> Bool {
    event.clear()
    var goesOn = true
    for command in take() {
      switch command {
      case .openDoor(let door, let then):
        if goesOn { loop.openDoor(door) }
        then()
      case .listen(let socket):
        loop.listen(socket)
      case .stop:
        goesOn = false
      }
    }
    return goesOn
  }
}
