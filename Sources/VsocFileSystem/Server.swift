// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import FuseSession
internal import Glibc
package import LinuxSystem
internal import Logging
internal import SystemPackage
package import VsocConfiguration
package import VsocEngine
internal import VsocPeers
internal import VsocProtocol
internal import VsocStore

/// The parts of a mount, put together: engine, file system, connection, and the thread that
/// answers interrupts. Its connection is the kernel's, or a test's that plays the kernel.
package final class Server: Sendable {
  /// No request waits in a worker, so that one serves any number of clients, unless they are busy.
  private static let workers = WorkerPoolSize(minimum: 1, maximum: 4)
  /// With pages to be served, requests do wait for others: see `ListeningPool`.
  private static let listeners = 8

  package let engine: Engine
  private let passthrough: PassthroughMode
  private let isReadOnly: Bool
  private let store: Store?
  private let hostSocket: HostSocket?
  private let peers = Lock<PeerServer?>(nil)
  private let log: @Sendable (String) -> Void
  private let fileSystem: VsocFileSystem
  private let interrupts: InterruptQueue
  private let session: Session
  private let ended: Ended
  /// In page-cache mode, from before anything is mapped until the connection has ended.
  private let connectionGuard = Lock<ConnectionGuard?>(nil)

  /// Raised by the last worker.
  private final class Ended: Sendable {
    let event: EventDescriptor

    init() throws(Errno) { event = try EventDescriptor() }
  }

  /// - Throws: an error whose description is one line.
  package init(_ configuration: MountConfiguration) throws {
    passthrough = configuration.passthrough
    isReadOnly = configuration.isReadOnly
    let isPrivileged = geteuid() == 0
    let logger = Logger(label: "vsocfs") { StreamLogHandler.standardError(label: $0) }
    let log: @Sendable (String) -> Void = { logger.error("\($0)") }
    self.log = log
    var root = RootAccess(
      uid: configuration.rootUID, gid: configuration.rootGID, mode: configuration.rootMode)
    let store = try Self.store(configuration) { logger.notice("\($0)") }
    self.store = store
    if let store {
      engine = try Engine(
        sizeCap: configuration.sizeCap, storage: RegionStorage(files: store), log: log)
      try engine.adopt(store.regions)
      // What was changed last counts, here as for regions.
      if let kept = store.root { root = kept } else { try store.setRoot(root) }
    } else {
      engine = try Engine(sizeCap: configuration.sizeCap, log: log)
      try engine.create(configuration.regions)
    }
    hostSocket = try configuration.hostSocket.map { path throws(HostSocketError) in
      try HostSocket(at: path)
    }
    interrupts = try InterruptQueue()
    fileSystem = VsocFileSystem(
      engine: engine, root: root,
      defaultGeometry: try RegionGeometry(size: configuration.defaultRegionSize),
      version: "vsocfs \(productVersion)", interrupts: interrupts,
      layoutText: { Layout.text(of: $0) },
      keepRoot: { try store?.setRoot($0) },
      log: log)
    let ended = try Ended()
    self.ended = ended
    session = try Session(
      fileSystem, options: configuration.libfuseOptions,
      wantsPassthrough: passthrough != .off && isPrivileged,
      isVerbose: configuration.isDebug, ended: { ended.event.signal() })
  }

  /// How long a daemon of the same store that is about to end is given to do so.
  private static let patience: UInt64 = 2_000_000_000

  /// The store with all regions that there are to be.
  private static func store(
    _ configuration: MountConfiguration, log: (String) -> Void
  ) throws -> Store? {
    guard let path = configuration.store else { return nil }
    let deadline = MonotonicInstant(nanoseconds: MonotonicInstant.now.nanoseconds + patience)
    let store = try Store(path: path, until: deadline, log: log)
    try store.populate(configuration.regions, sizeCap: configuration.sizeCap, log: log)
    return store
  }

  /// Mounts, and finds out whether the mount works.
  package func mount(at path: String) throws {
    try session.mount(at: path)
    try session.negotiate()
    let own = try OwnAccess(mountPoint: path)
    fileSystem.own.withLock { $0 = own }
    if let obstacle = passthrough == .off ? "it is off" : passthroughObstacle() {
      guard passthrough != .on else { throw MountError("passthrough=on: \(obstacle)") }
      guard !isReadOnly else {
        throw MountError(
          "-o ro: not without passthrough (\(obstacle)), as the daemon writes through the mount")
      }
      // Without the right to, there is less to rely on when memory is short.
      _ = vsocfs_become_io_flusher()
      session.allowDirtyPages()
      let rooms = try SharedRooms(Self.listeners, for: session)
      let keeper = try startGuard(of: path, rooms)
      try servePages(MountMapping(own, keeper: keeper), rooms)
    } else {
      fileSystem.mode = .passthrough(BackingFiles(session))
      try session.start(.adaptive(Self.workers))
    }
    try servePeers(own)
    var statistics = statvfs()
    guard unsafe statvfs(path, &statistics) == 0 else {
      throw MountError("\(path): \(Errno(rawValue: errno))")
    }
  }

  /// A descriptor is needed for each; the rest is for open files.
  private static let descriptorsPerPeer = 4

  /// Lets virtual machines and host clients come.
  private func servePeers(_ own: OwnAccess) throws(Errno) {
    let fileSystem = fileSystem
    let server = try PeerServer(
      engine: engine, capacity: max(64, ResourceLimits.descriptors / Self.descriptorsPerPeer),
      memory: { region throws(Errno) in try fileSystem.memory(of: region, own) }, log: log)
    peers.withLock { $0 = server }
    // Nothing can be bound in a mount that cannot be written to.
    if !isReadOnly { fileSystem.sockets.withLock { $0 = TreeSockets(server: server, own: own) } }
    if let hostSocket { server.listen(hostSocket) }
  }

  private func servePages(
    _ mapping: any PageCacheMapping, _ rooms: SharedRooms
  ) throws(Errno) {
    engine.storage.mapping = mapping
    fileSystem.mode = .pageCache(mapping)
    try session.start(.listening(rooms))
  }

  /// Starts the guard. It has the store as well: what it writes must not come after another daemon's.
  private func startGuard(of path: String, _ rooms: SharedRooms) throws -> GuardedDescriptors {
    let new = try ConnectionGuard(
      mountPoint: path, session: session, rooms: rooms, log: log)
    let (keeper, process) = (new.copies, new.process)
    var started: ConnectionGuard? = consume new
    connectionGuard.withLock { $0 = started.take() }
    try store?.share(with: keeper, process: process)
    return keeper
  }

  /// Why there can be no passthrough; nil if it works.
  private func passthroughObstacle() -> String? {
    guard geteuid() == 0 else { return "FUSE passthrough needs CAP_SYS_ADMIN, and so root" }
    guard session.hasPassthrough else {
      return "this kernel cannot do FUSE passthrough (it needs Linux 6.9)"
    }
    do {
      let trial = try SharedMemoryFile(name: "vsocfs", size: Int(RegionGeometry.pageSize))
      _ = try BackingFile(trial.descriptor.raw, session: session)
      return nil
    } catch {
      return "FUSE passthrough cannot be used (it needs CAP_SYS_ADMIN): \(error)"
    }
  }

  /// Serves a socket whose other end plays the kernel: without passthrough.
  ///
  /// - Parameter mapping: given for page-cache mode, for which the kernel's INIT is waited for.
  package func attach(
    _ connection: consuming Descriptor, pageCache mapping: (any PageCacheMapping)? = nil
  ) throws {
    try session.attach(connection.release())
    guard let mapping else { return try session.start(.adaptive(Self.workers)) }
    try session.negotiate()
    try servePages(mapping, try SharedRooms(Self.listeners, for: session))
  }

  /// Answers interrupts until `stop` is readable or the connection ends.
  package func run(until stop: borrowing Descriptor) {
    enum Token { static let (stop, interrupt, end): (UInt64, UInt64, UInt64) = (1, 2, 3) }
    do throws(Errno) {
      let epoll = try Epoll()
      try epoll.add(stop, token: Token.stop)
      try epoll.add(interrupts.event.descriptor, token: Token.interrupt)
      try epoll.add(ended.event.descriptor, token: Token.end)
      while true {
        let tokens = try epoll.wait()
        if tokens.contains(Token.interrupt) {
          for token in interrupts.take() { engine.parking.abandon(token: token, .interrupted) }
        }
        if tokens.contains(Token.stop) || tokens.contains(Token.end) { return }
      }
    } catch {
      fileSystem.log("cannot wait for events: \(error)")
    }
  }

  /// Ends every call that waits, then the connection. Nothing stays mounted.
  package func end() {
    engine.shutDown()
    peers.withLock { $0.take() }?.stop()
    hostSocket?.remove()
    engine.endPermissions()
    // While there are workers to write back what clients have stored.
    if fileSystem.mode.pageCache != nil { engine.unmapAll() }
    // What it cannot end ends with this process.
    if session.abort() { ended.event.wait() }
    connectionGuard.withLock { $0.take() }?.stop()
    session.stopNotifying()
    fileSystem.disconnect()
  }
}
