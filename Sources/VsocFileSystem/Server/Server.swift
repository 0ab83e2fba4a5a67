// SPDX-License-Identifier: Apache-2.0

package import DaemonLog
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
  static let workers = WorkerPoolSize(minimum: 1, maximum: 4)
  /// With pages to be served, requests do wait for others: see `ListeningPool`.
  static let listeners = 8

  package let engine: Engine
  let mountPoint: String
  let passthrough: PassthroughMode
  let isReadOnly: Bool
  /// Whether others than the user who mounts may use it.
  let isShared: Bool
  let isPrivileged: Bool
  let store: Store?
  let hostSocket: HostSocket?
  let links: DeviceLinks?
  let peers = Lock<PeerServer?>(nil)
  let logger: Logger
  let fileSystem: VsocFileSystem
  private let interrupts: InterruptQueue
  let looks: Looks?
  let claims: ClaimThreads
  let session: Session
  private let ended: Ended
  /// In page-cache mode, from before anything is mapped until the connection has ended.
  let connectionGuard = Lock<ConnectionGuard?>(nil)

  /// Raised by the last worker.
  private final class Ended: Sendable {
    let event: EventDescriptor

    init() throws(Errno) { event = try EventDescriptor() }
  }

  /// - Parameter looking: looks into callers; nil: by processes of its own.
  /// - Throws: an error whose description is one line.
  package init(
    _ configuration: MountConfiguration, log: DaemonLog, looking: (any Looking)? = nil
  ) throws {
    mountPoint = configuration.mountpoint
    passthrough = configuration.passthrough
    isReadOnly = configuration.isReadOnly
    isShared = configuration.allowOther
    isPrivileged = geteuid() == 0
    let logger = log.logger
    self.logger = logger
    var root = RootAccess(
      uid: configuration.rootUID, gid: configuration.rootGID, mode: configuration.rootMode)
    let store = try Self.store(configuration) { logger.notice("\($0)") }
    self.store = store
    let limits = Self.limits(configuration, store?.regions ?? configuration.regions)
    if let store {
      engine = try Engine(limits: limits, storage: RegionStorage(files: store), log: logger)
      try engine.adopt(store.regions)
      // What was changed last counts, here as for regions.
      if let kept = store.root { root = kept } else { try store.setRoot(root) }
    } else {
      engine = try Engine(limits: limits, log: logger)
      try engine.create(configuration.regions)
    }
    links = try configuration.hasDeviceLinks ? DeviceLinks(to: configuration.mountpoint) : nil
    hostSocket = try configuration.hostSocket.map { path throws(HostSocketError) in
      try HostSocket(at: path)
    }
    interrupts = try InterruptQueue()
    looks = try looking == nil ? Looks(log: { logger.error("\($0)") }) : nil
    let claims = try ClaimThreads()
    self.claims = claims
    let layout = LayoutWriter()
    fileSystem = VsocFileSystem(
      engine: engine, root: root,
      defaultGeometry: try RegionGeometry(size: configuration.defaultRegionSize),
      version: "vsocfs \(productVersion)", interrupts: interrupts,
      looking: looking ?? looks ?? ImmediateLooks(), claims: claims,
      layoutText: { layout.text(of: $0) },
      keepRoot: { try store?.setRoot($0) }, links: links,
      log: log)
    let ended = try Ended()
    self.ended = ended
    session = try Session(
      fileSystem, options: configuration.libfuseOptions,
      wantsPassthrough: passthrough != .off && isPrivileged,
      isVerbose: configuration.isDebug, ended: { ended.event.signal() })
  }

  /// Nanoseconds that claims which are being carried out may take, without anything to wait for.
  private static let claimPatience: UInt64 = 1_000_000_000

  /// How long a daemon of the same store that is about to end is given to do so.
  private static let patience: UInt64 = 2_000_000_000

  /// The store with all regions that there are to be.
  private static func store(
    _ configuration: MountConfiguration, log: (String) -> Void
  ) throws -> Store? {
    guard let path = configuration.store else { return nil }
    let deadline = MonotonicInstant(nanoseconds: MonotonicInstant.now.nanoseconds + patience)
    let store = try Store(path: path, until: deadline, log: log)
    var sizeCap: UInt64?
    if case .bytes(let size) = configuration.sizeLimit { sizeCap = size }
    try store.populate(configuration.regions, sizeCap: sizeCap, log: log)
    return store
  }

  /// - Parameter regions: those that there are at the start. What nobody has asked for keeps none of them
  ///   out.
  private static func limits(
    _ configuration: MountConfiguration, _ regions: [RegionConfiguration]
  ) -> RegionLimits {
    let sizeCap: UInt64? =
      switch configuration.sizeLimit {
      case .none: nil
      case .bytes(let size): size
      case .usual:
        max(MachineMemory.half, regions.reduce(0) { $0 + UInt64($1.geometry.size) })
      }
    return RegionLimits(bytes: sizeCap, count: configuration.regionLimit)
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
  ///
  /// - Returns: why it ended, for the log.
  @discardableResult
  package func run(until stop: borrowing Descriptor) -> String {
    enum Token {
      static let (stop, interrupt, end, mounts): (UInt64, UInt64, UInt64, UInt64) = (1, 2, 3, 4)
    }
    let own = fileSystem.own.withLock { $0 }
    do throws(Errno) {
      let epoll = try Epoll()
      try epoll.add(stop, token: Token.stop)
      try epoll.add(interrupts.event.descriptor, token: Token.interrupt)
      try epoll.add(ended.event.descriptor, token: Token.end)
      try own?.watchMounts(epoll, token: Token.mounts)
      if let own { mountsChanged(own) }
      while true {
        let tokens = try epoll.wait()
        if let own, tokens.contains(Token.mounts) { mountsChanged(own) }
        if tokens.contains(Token.interrupt) {
          for token in interrupts.take() { engine.parking.abandon(token: token, .interrupted) }
        }
        if tokens.contains(Token.end) { return "unmounted" }
        if tokens.contains(Token.stop) { return "ended by a signal" }
      }
    } catch {
      logger.error("cannot wait for events: \(error)")
      return "ended"
    }
  }

  private func watchEnd() -> EndWatch? {
    do throws(Errno) {
      let writesBack = store != nil && fileSystem.mode.pageCache != nil
      return try EndWatch(session, mayWriteBack: writesBack, log: logger)
    } catch {
      logger.error("nobody watches that the end of the mount comes: \(error)")
      return nil
    }
  }

  private func mountsChanged(_ own: OwnAccess) {
    do throws(Errno) {
      try own.mountsChanged()
    } catch {
      logger.error("an unmount may not be noticed: \(error)")
    }
  }

  /// Ends every call that waits, then the connection. Nothing stays mounted.
  package func end() {
    let watch = watchEnd()
    defer { watch?.stop() }
    engine.shutDown()
    looks?.stop()
    peers.withLock { $0.take() }?.stop()
    hostSocket?.remove()
    links?.removeAll()
    engine.endPermissions()
    // While there are workers to write back what clients have stored.
    if fileSystem.mode.pageCache != nil { engine.unmapAll() }
    // What it cannot end ends with this process.
    if session.abort() { ended.event.wait() }
    claims.stop(within: Self.claimPatience)
    connectionGuard.withLock { $0.take() }?.stop()
    session.stopNotifying()
    fileSystem.disconnect()
  }
}
