// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import FuseSession
internal import Glibc
internal import LinuxSystem
internal import Logging
internal import SystemPackage
internal import VsocConfiguration
internal import VsocEngine
internal import VsocPeers
internal import VsocProtocol
internal import VsocStore

/// From the mount to the threads that serve it. What only root may do comes first; then its rights are
/// given up, and only then is there a second thread.
extension Server {
  /// Mounts, and finds out whether the mount works.
  package func mount() throws {
    let path = mountPoint
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
      if store != nil, isPrivileged, passthrough == .auto, session.hasPassthrough {
        logger.notice("goes without passthrough: \(obstacle)")
      }
      // Before there is another thread, which would have a heap of its own.
      vsocfs_reserve_heap()
      // Without the right to, there is less to rely on when memory is short.
      _ = vsocfs_become_io_flusher()
      session.allowDirtyPages()
      try restrictRights(servesPages: true)
      let rooms = try SharedRooms(Self.listeners, for: session)
      let keeper = try startGuard(of: path, rooms)
      try servePages(MountMapping(own, keeper: keeper), rooms)
    } else {
      try restrictRights(servesPages: false)
      fileSystem.mode = .passthrough(BackingFiles(session))
      try session.start(.adaptive(Self.workers))
    }
    try own.holdDirectory()
    try prepareClaims()
    try servePeers(own)
    try addLinks()
    var statistics = statvfs()
    guard unsafe statvfs(path, &statistics) == 0 else {
      throw MountError("\(path): \(Errno(rawValue: errno))")
    }
  }

  /// So that no claim has to wait for a process to be started.
  private func prepareClaims() throws(Errno) {
    guard engine.regions.contains(where: \.isManaged) else { return }
    try claims.prepare()
    try looks?.prepare()
  }

  private func addLinks() throws {
    guard let links else { return }
    for region in engine.regions {
      do throws(Errno) {
        try links.add(region.name)
      } catch {
        throw MountError("-o dev_links: \(links.path(of: region.name)): \(error)")
      }
    }
  }

  private func rights(servesPages: Bool) -> DaemonRights {
    DaemonRights(
      servesPages: servesPages, hasManagedRegions: engine.regions.contains(where: \.isManaged))
  }

  /// Before there is another thread.
  private func restrictRights(servesPages: Bool) throws {
    guard isPrivileged else { return }
    do {
      try rights(servesPages: servesPages).restrict()
    } catch {
      throw MountError("root's capabilities cannot be given up: \(error)")
    }
  }

  /// Says in the log that there is a mount, and what its daemon may do.
  package func announce() {
    let regions = engine.regionCount
    logger.notice(
      "mounted at \(mountPoint): \(fileSystem.mode.name), \(regions) \(regions == 1 ? "region" : "regions")"
    )
    if isShared, fileSystem.mode.pageCache != nil {
      logger.notice(
        "clients of one region must trust one another not to hold the kernel's locks on its data (page-cache mode)"
      )
    }
    guard isPrivileged else { return }
    logger.notice("keeps \(rights(servesPages: fileSystem.mode.pageCache != nil).description)")
  }

  /// Lets virtual machines and host clients come.
  private func servePeers(_ own: OwnAccess) throws(Errno) {
    let fileSystem = fileSystem
    let server = try PeerServer(
      engine: engine, limits: PeerLimits(descriptors: ResourceLimits.descriptors),
      memory: { region throws(Errno) in try fileSystem.memory(of: region, own) }, log: logger)
    peers.withLock { $0 = server }
    // Nothing can be bound in a mount that cannot be written to.
    if !isReadOnly { fileSystem.sockets.withLock { $0 = TreeSockets(server: server, own: own) } }
    if let hostSocket { server.listen(hostSocket) }
  }

  func servePages(
    _ mapping: any PageCacheMapping, _ rooms: SharedRooms
  ) throws(Errno) {
    engine.storage.mapping = mapping
    fileSystem.mode = .pageCache(mapping)
    try session.start(.listening(rooms))
  }

  /// Starts the guard. It has the store as well: what it writes must not come after another daemon's.
  private func startGuard(of path: String, _ rooms: SharedRooms) throws -> GuardedDescriptors {
    let new = try ConnectionGuard(
      mountPoint: path, session: session, rooms: rooms, log: logger)
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
    } catch {
      return "FUSE passthrough cannot be used (it needs CAP_SYS_ADMIN): \(error)"
    }
    guard let store else { return nil }
    do {
      try store.withFile { file throws(Errno) in _ = try BackingFile(file, session: session) }
      return nil
    } catch {
      // ELOOP: it is a file system on top of another one, as overlayfs is.
      return "the store's file system cannot do FUSE passthrough: \(error)"
    }
  }
}
