// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import Glibc
internal import LinuxSystem
internal import Logging
internal import SystemPackage
package import VsocConfiguration
internal import VsocEngine
internal import VsocProtocol

/// Mounts, calls `ready` once the mount can be used, and returns after a clean unmount: by umount(2),
/// SIGTERM, SIGINT or SIGHUP. The calling thread becomes the one that answers interrupts.
///
/// - Throws: an error whose description is one line, with nothing left mounted.
package func serve(_ configuration: MountConfiguration, ready: () -> Void) throws {
  ResourceLimits.raiseDescriptors()
  let signals = try ShutdownSignalDescriptor()
  let mount = try Mount(configuration)
  do {
    try mount.start(configuration)
  } catch {
    mount.end()
    throw error
  }
  ready()
  mount.run(signals)
  mount.end()
}

/// Why there is no mount, in one line.
struct MountError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// A mount from its parts to its end.
private final class Mount {
  /// No request waits in a worker, so that a few serve any number of clients.
  private static let workerCount = 4

  private let engine: Engine
  private let fileSystem: VsocFileSystem
  private let interrupts: InterruptQueue
  private let session: Session
  private let ended: Ended

  /// Raised by the last worker.
  private final class Ended: Sendable {
    let event: EventDescriptor

    init() throws(Errno) { event = try EventDescriptor() }
  }

  init(_ configuration: MountConfiguration) throws {
    engine = try Engine(sizeCap: configuration.sizeCap)
    try engine.create(configuration.regions)
    interrupts = try InterruptQueue()
    let logger = Logger(label: "vsocfs") { StreamLogHandler.standardError(label: $0) }
    let root = RootAccess(
      uid: configuration.rootUID, gid: configuration.rootGID, mode: configuration.rootMode)
    fileSystem = VsocFileSystem(
      engine: engine, root: root,
      defaultGeometry: try RegionGeometry(size: configuration.defaultRegionSize),
      version: "vsocfs \(productVersion)", interrupts: interrupts,
      layoutText: { Layout.text(of: $0) }, log: { logger.error("\($0)") })
    let ended = try Ended()
    self.ended = ended
    session = try Session(
      fileSystem, options: configuration.libfuseOptions, wantsPassthrough: true,
      isVerbose: configuration.isDebug, ended: { ended.event.signal() })
  }

  /// Mounts, and finds out whether the mount works.
  func start(_ configuration: MountConfiguration) throws {
    try session.mount(at: configuration.mountpoint)
    try session.start(workers: Self.workerCount)
    // Answered by a worker, after the kernel has got its INIT reply.
    var statistics = statvfs()
    guard unsafe statvfs(configuration.mountpoint, &statistics) == 0 else {
      throw MountError("\(configuration.mountpoint): \(Errno(rawValue: errno))")
    }
    guard session.hasPassthrough else {
      throw MountError(
        "this kernel cannot do FUSE passthrough (it needs Linux 6.9), and there is no other mode "
          + "yet")
    }
    do {
      let trial = try SharedMemoryFile(name: "vsocfs", size: Int(RegionGeometry.pageSize))
      _ = try BackingFile(trial.descriptor.raw, session: session)
    } catch {
      throw MountError("FUSE passthrough cannot be used (it needs CAP_SYS_ADMIN): \(error)")
    }
    fileSystem.usePassthrough(of: session)
  }

  /// Answers interrupts until the mount is to end.
  func run(_ signals: borrowing ShutdownSignalDescriptor) {
    enum Token { static let (signal, interrupt, end): (UInt64, UInt64, UInt64) = (1, 2, 3) }
    do throws(Errno) {
      let epoll = try Epoll()
      try epoll.add(signals.descriptor, token: Token.signal)
      try epoll.add(interrupts.event.descriptor, token: Token.interrupt)
      try epoll.add(ended.event.descriptor, token: Token.end)
      while true {
        let tokens = try epoll.wait()
        if tokens.contains(Token.interrupt) {
          for token in interrupts.take() { engine.parking.abandon(token: token, .interrupted) }
        }
        if tokens.contains(Token.signal) || tokens.contains(Token.end) { return }
      }
    } catch {
      fileSystem.log("cannot wait for events: \(error)")
    }
  }

  /// Ends every call that waits, then the connection. Nothing stays mounted.
  func end() {
    engine.shutDown()
    do throws(Errno) {
      try session.abort()
      ended.event.wait()
    } catch {
      // It is unmounted already: by umount(8), which the workers have seen, or lazily, and then
      // what is still open ends with this process.
    }
    fileSystem.disconnect()
  }
}
