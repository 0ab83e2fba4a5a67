// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import Glibc
package import LinuxSystem
internal import Logging
internal import SystemPackage
package import VsocConfiguration
package import VsocEngine
internal import VsocProtocol

/// The parts of a mount, put together: engine, file system, connection, and the thread that
/// answers interrupts. Its connection is the kernel's, or a test's that plays the kernel.
package final class Server: Sendable {
  /// No request waits in a worker, so that one serves any number of clients, unless they are busy.
  private static let workers = WorkerPoolSize(minimum: 1, maximum: 4)

  package let engine: Engine
  private let fileSystem: VsocFileSystem
  private let interrupts: InterruptQueue
  private let session: Session
  private let ended: Ended

  /// Raised by the last worker.
  private final class Ended: Sendable {
    let event: EventDescriptor

    init() throws(Errno) { event = try EventDescriptor() }
  }

  /// - Throws: an error whose description is one line.
  package init(_ configuration: MountConfiguration) throws {
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
  package func mount(at path: String) throws {
    try session.mount(at: path)
    try session.start(Self.workers)
    // Answered by a worker, after the kernel has got its INIT reply.
    var statistics = statvfs()
    guard unsafe statvfs(path, &statistics) == 0 else {
      throw MountError("\(path): \(Errno(rawValue: errno))")
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

  /// Serves a socket whose other end plays the kernel: without passthrough.
  package func attach(_ connection: consuming Descriptor) throws {
    try session.attach(connection.release())
    try session.start(Self.workers)
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
    do throws(Errno) {
      try session.abort()
      ended.event.wait()
    } catch {
      // It is unmounted already: by umount(8), which the workers have seen, or lazily, and then
      // what is still open ends with this process.
    }
    session.stopNotifying()
    fileSystem.disconnect()
  }
}
