// SPDX-License-Identifier: Apache-2.0

internal import CFuse3
internal import CFuseIO
internal import CLinux
internal import Glibc
internal import LinuxSystem
internal import Logging
package import SystemPackage

/// A connection to the kernel, or to a test that plays it, and the threads that serve it.
///
/// Workers block in read(2) on the connection, and end when that does: by umount(2), by `abort`, or when
/// the other end of a socket closes. How many there are is said in `Service`. The session lives until
/// the last poll handle and backing file is gone.
@safe
package final class Session: @unchecked Sendable {
  let fileSystem: any FileSystem
  let raw: OpaquePointer
  let channel: UnsafeMutablePointer<vsocfs_fuse_channel>
  private let mountOptions: [String]
  private let place = Lock<MountedPlace?>(nil)
  let pool = WorkerPool()
  private let notifier: Notifier
  let ended: @Sendable () -> Void

  /// What a request carries at least: before anything was agreed on.
  private static let smallestPayload = 4096

  /// - Parameters:
  ///   - options: mount options for libfuse, as after `-o`.
  ///   - wantsPassthrough: ask the kernel for it.
  ///   - isVerbose: libfuse logs each request to stderr.
  ///   - ended: called once by the last worker, when the connection has ended.
  package init(
    _ fileSystem: any FileSystem, options: [String], wantsPassthrough: Bool,
    isVerbose: Bool = false, ended: @escaping @Sendable () -> Void
  ) throws(SessionError) {
    self.fileSystem = fileSystem
    self.ended = ended
    notifier = Notifier(log: fileSystem.logger)
    mountOptions = options
    let channel = UnsafeMutablePointer<vsocfs_fuse_channel>.allocate(capacity: 1)
    unsafe self.channel = unsafe channel
    unsafe channel.initialize(to: vsocfs_fuse_channel())
    unsafe channel.pointee.want_passthrough = wantsPassthrough
    FuseLog.capture(isVerbose: isVerbose)
    var arguments = ["vsocfs"]
    let options = isVerbose ? options + ["debug"] : options
    if !options.isEmpty { arguments += ["-o", options.joined(separator: ",")] }
    var operations = Self.operations()
    let session = unsafe arguments.withCStrings { argv in
      unsafe vsocfs_fuse_session_new(Int32(arguments.count), argv, &operations, channel)
    }
    guard let session = unsafe session else {
      unsafe channel.deallocate()
      throw SessionError(FuseLog.lastLine ?? "libfuse refused the mount options")
    }
    unsafe raw = session
    unsafe channel.pointee.owner = unsafe Unmanaged.passUnretained(self).toOpaque()
  }

  deinit {
    // Lets libfuse forget the mount point. Only of a dead connection: from a living one, unmounted
    // lazily, it would take whatever is mounted there now.
    if pool.isEmpty { unsafe fuse_session_unmount(raw) }
    unsafe fuse_session_destroy(raw)
    unsafe channel.deallocate()
  }

  static func of(_ request: fuse_req_t) -> Session {
    let channel = unsafe fuse_req_userdata(request)!.assumingMemoryBound(
      to: vsocfs_fuse_channel.self)
    return unsafe Unmanaged<Session>.fromOpaque(channel.pointee.owner).takeUnretainedValue()
  }

  /// The connection's descriptor.
  var descriptor: Int32 { unsafe fuse_session_fd(raw) }

  /// The most bytes that a request carries, once that has been agreed on.
  var payload: Int { Int(unsafe channel.pointee.max_payload) }

  // MARK: Connecting

  /// Mounts at a directory: as root by mount(2), as any other user by fusermount3.
  ///
  /// - Parameter path: absolute, without symbolic links.
  package func mount(at path: String) throws(SessionError) {
    let connection: Int32
    if geteuid() == 0 {
      guard unsafe fuse_session_mount(raw, path) == 0 else {
        throw SessionError(FuseLog.lastLine ?? "cannot mount at \(path)")
      }
      connection = descriptor
    } else {
      do throws(FusermountError) {
        connection = try Fusermount.mount(at: path, options: mountOptions).release()
      } catch {
        throw SessionError("cannot mount at \(path): \(error)")
      }
    }
    place.withLock { $0 = MountedPlace(path) }
    try attach(connection)
  }

  /// Serves a connected descriptor, which the session will close: the other end plays the kernel.
  package func attach(_ descriptor: Int32) throws(SessionError) {
    let result = unsafe vsocfs_fuse_session_attach(raw, descriptor)
    guard result == 0 else { throw SessionError(Errno(rawValue: -result).description) }
  }

  /// Answers INIT, in the calling thread: what the kernel can do is known then.
  ///
  /// - Throws: an error if there is no connection.
  package func negotiate() throws(Errno) {
    let room = try RequestRoom(payload: Self.smallestPayload)
    while unsafe channel.pointee.max_payload == 0 {
      let length = unsafe room.receive(channel, descriptor)
      if length == -EINTR { continue }
      guard length > 0 else { throw .brokenPipe }
      unsafe vsocfs_fuse_process(raw, room.request, length)
    }
  }

  /// For memory that is the page cache of files here: see `MountedPlace`.
  package func allowDirtyPages() {
    place.withLock { $0?.allowDirtyPages() }
  }

  /// Starts the threads that serve the connection until it ends.
  package func start(_ service: Service) throws(Errno) {
    switch service {
    case .adaptive(let size): try startAdapting(size)
    case .listening(let rooms): try startListening(rooms)
    }
  }

  func notifyLater(_ handle: PollHandle) {
    notifier.add(handle)
  }

  /// Ends the thread that notifies. The handles that it still has keep the session otherwise.
  package func stopNotifying() {
    notifier.stop()
  }

  /// Whether the kernel granted passthrough. Known once a request other than INIT was answered.
  package var hasPassthrough: Bool { unsafe vsocfs_fuse_passthrough_granted(channel) }

  /// Unmounts, and ends the connection for everybody, also those who wait in it. A user other than
  /// root may be unable to end it: then it goes on, unmounted, for those who have it open until this
  /// process ends.
  ///
  /// May be called again, and by any thread.
  ///
  /// - Returns: whether there are workers that end now, or soon.
  package func abort() -> Bool {
    if let place = place.withLock({ $0.take() }) {
      do {
        try place.end(isAlive: { !isDead })
      } catch {
        fileSystem.logger.error("cannot unmount: \(error)")
      }
    }
    return isDead && !pool.isEmpty
  }

  /// Whether the connection has ended.
  private var isDead: Bool {
    var entry = pollfd(fd: descriptor, events: 0, revents: 0)
    return unsafe poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLERR) != 0
  }

  /// Bytes of clients' pages that this process has written to files.
  package static var pagesWritten: UInt64 { vsocfs_fuse_pages_written() }

  func droppedRequest() {
    fileSystem.logger.error("a request was dropped without an answer")
  }
}

/// Why there is no session, in one line.
package struct SessionError: Error, Hashable, Sendable, CustomStringConvertible {
  package let description: String

  package init(_ description: String) {
    self.description = description
  }
}

/// libfuse's own messages: kept, as they say why a call failed that only returns -1.
enum FuseLog {
  private static let line = Lock<String?>(nil)

  static var lastLine: String? { line.withLock { $0.take() } }

  /// For the whole process, as libfuse has it. Verbose lines go to stderr as they are: they are for a
  /// reader who asked for them.
  static func capture(isVerbose: Bool) {
    if !isVerbose { _ = installation }
  }

  private static let installation: Void = unsafe vsocfs_fuse_set_log { _, line in
    guard let line = unsafe line else { return }
    let text = unsafe String(cString: line)
    FuseLog.line.withLock { $0 = text }
  }
}

extension [String] {
  /// The strings as a C argument vector, for the duration of the call.
  func withCStrings<Result>(
    _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
  ) -> Result {
    var pointers = unsafe map { unsafe strdup($0) } + [nil]
    defer { for index in unsafe pointers.indices { unsafe free(pointers[index]) } }
    return unsafe pointers.withUnsafeMutableBufferPointer { buffer in
      unsafe body(buffer.baseAddress!)
    }
  }
}
