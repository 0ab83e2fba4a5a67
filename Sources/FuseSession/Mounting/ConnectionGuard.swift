// SPDX-License-Identifier: Apache-2.0

internal import CFuseIO
internal import CLinux
internal import Glibc
internal import LinuxSystem
package import Logging
package import SystemPackage

/// A small process that ends the FUSE connection of this one, should this one die.
///
/// A daemon that maps files of its own mount cannot always be killed: on its way out the kernel
/// writes dirty pages back to it, or one of its threads waits for a request that another thread had
/// taken, and the connection, which stays open that long, waits for the daemon. The guard sees the
/// daemon's end before any of this and serves what pages there are until the daemon has gone, so that
/// what clients have stored gets to the regions' files. Should that not help, it aborts the
/// connection, through fusectl, or where that is not mounted by a forced unmount, which root only can
/// do.
package struct ConnectionGuard: ~Copyable, Sendable {
  private static let option = "--guard"

  private let lifeline: Lifeline
  package let process: Int32
  /// For the descriptors that are named by the kernel's handles of files with pages.
  package let copies: GuardedDescriptors

  /// Starts a guard for what is mounted at `mountPoint`, until it is dropped.
  ///
  /// From then on this process leaves no core dump: for one the kernel stops all threads first, and
  /// one that waits for the daemon would keep the guard from being told.
  ///
  /// - Parameters:
  ///   - mountPoint: absolute, without symbolic links.
  ///   - rooms: of all threads that serve the session.
  ///   - log: told when the guard cannot do all that it is there for.
  package init(
    mountPoint: String, session: Session, rooms: SharedRooms,
    log: Logger
  ) throws(Errno) {
    let device = try check { unsafe vsocfs_mounted_device(mountPoint) }
    try check { vsocfs_refuse_core_dumps() }
    let lifeline = try Lifeline()
    // Open from now on: later the number may be that of another connection.
    let abort = MountedPlace.openAbortFile(of: device)
    defer { try? abort?.close() }
    let own = Descriptor(owning: try check { vsocfs_pidfd_open(getpid()) })
    var ends: [Int32] = [-1, -1]
    try check { unsafe vsocfs_packet_pair(&ends) }
    let sending = Descriptor(owning: ends[0])
    let receiving = Descriptor(owning: ends[1])
    process = try Self.spawn(
      mountPoint: mountPoint, device: device, payload: rooms.payload, roomCount: rooms.count,
      lifeline: lifeline.descriptor.raw, process: own.raw, connection: session.descriptor,
      abort: abort?.rawValue, copies: receiving.raw, rooms: rooms.memory.raw)
    copies = GuardedDescriptors(sending, of: process, log)
    self.lifeline = lifeline
  }

  deinit {
    copies.stop()
    lifeline.letGo()
    _ = vsocfs_wait_for_exit(process)
  }

  /// Ends the guard, as the connection has ended.
  package consuming func stop() {}

  /// Starts `executable` as a guard: its pid. The descriptors are those of `vsocfs_guard`.
  static func spawn(
    _ executable: String = "/proc/self/exe", mountPoint: String, device: Int32, payload: Int,
    roomCount: Int, lifeline: Int32, process: Int32, connection: Int32?, abort: Int32?,
    copies: Int32, rooms: Int32?
  ) throws(Errno) -> Int32 {
    let descriptors = [lifeline, process, connection ?? -1, abort ?? -1, copies, rooms ?? -1]
    // The mountpoint does not come last, where that of a daemon stands.
    let numbers = ([device, Int32(payload), Int32(roomCount)] + descriptors).map { "\($0)" }
    let texts = [CommandLine.arguments[0], option, mountPoint] + numbers
    var arguments = unsafe texts.map { unsafe strdup($0) }
    defer { for index in unsafe arguments.indices { unsafe free(arguments[index]) } }
    unsafe arguments.append(nil)
    return try check {
      unsafe vsocfs_spawn_session(
        executable, arguments, environ, descriptors, Int32(descriptors.count))
    }
  }

  /// Is the guard, and does not return, if this process was started as one.
  package static func runIfAsked(by arguments: [String]) {
    guard arguments.count == 11, arguments[0] == option else { return }
    let numbers = arguments[2...].compactMap { Int32($0) }
    guard numbers.count == 9 else { return }
    unsafe arguments[1].withCString { mountPoint in
      var guarded = unsafe vsocfs_guard(
        mount_point: mountPoint, device: numbers[0], payload: numbers[1], room_count: numbers[2],
        lifeline: numbers[3], process: numbers[4], connection: numbers[5], abort: numbers[6],
        copies: numbers[7], rooms: numbers[8])
      unsafe vsocfs_guard_run(&guarded)
    }
  }
}

/// Copies of descriptors that a guard has.
package final class GuardedDescriptors: DescriptorKeeper {
  private let socket: Descriptor
  private let process: Int32
  private let log: Logger
  /// As long as the guard has a copy of everything.
  private let isComplete = Lock(true)

  init(
    _ socket: consuming Descriptor, of process: Int32, _ log: Logger
  ) {
    self.socket = socket
    self.process = process
    self.log = log
  }

  package func keep(_ descriptor: Int32) { send(descriptor, copy: descriptor) }
  package func drop(_ descriptor: Int32) { send(descriptor, copy: -1) }

  /// A guard that has not been told everything may take one file for another, so that it is told that.
  private func send(_ number: Int32, copy: Int32) {
    isComplete.withLock { isComplete in
      guard isComplete else { return }
      var result = vsocfs_send_numbered(socket.raw, number, copy)
      // Handles come and go faster than the guard is given a processor.
      if result == -EAGAIN, waitForRoom() {
        result = vsocfs_send_numbered(socket.raw, number, copy)
      }
      guard result < 0 else { return }
      isComplete = false
      kill(process, vsocfs_guard_lost_signal())
      log.error(
        "what clients store may be lost if this process is killed: \(Errno(rawValue: -result))")
    }
  }

  /// Milliseconds for which a guard that takes nothing in is waited for, once.
  private static let patience: Int32 = 1000

  private func waitForRoom() -> Bool {
    var entry = pollfd(fd: socket.raw, events: Int16(POLLOUT), revents: 0)
    return unsafe poll(&entry, 1, Self.patience) == 1
  }

  /// The guard is about to end.
  func stop() {
    isComplete.withLock { $0 = false }
  }
}
