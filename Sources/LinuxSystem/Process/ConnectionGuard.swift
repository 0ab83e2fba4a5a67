// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// A small process that ends the FUSE connection of this one, should this one die.
///
/// A daemon that maps files of its own mount cannot always be killed: on its way out the kernel
/// writes dirty pages back to it, or one of its threads waits for a request that another thread had
/// taken, and the connection, which stays open that long, waits for the daemon. The guard sees the
/// daemon's end before any of this and aborts the connection, through fusectl, or where that is not
/// mounted by a forced unmount, which root only can do.
package struct ConnectionGuard: ~Copyable, Sendable {
  private static let option = "--guard"

  private let lifeline: Lifeline
  private let process: Int32

  /// Starts a guard for what is mounted at `mountPoint`, until it is dropped.
  ///
  /// From then on this process leaves no core dump: for one the kernel stops all threads first, and
  /// one that waits for the daemon would keep the guard from being told.
  ///
  /// - Parameter mountPoint: absolute, without symbolic links.
  package init(mountPoint: String) throws(Errno) {
    let device = try check { unsafe vsocfs_mounted_device(mountPoint) }
    try check { vsocfs_refuse_core_dumps() }
    let lifeline = try Lifeline()
    // Open from now on: later the number may be that of another connection.
    let abort = try? FileDescriptor.open(
      FilePath("/sys/fs/fuse/connections/\(device)/abort"), .writeOnly, options: .closeOnExec)
    defer { try? abort?.close() }
    process = try Self.spawn(
      mountPoint: mountPoint, device: device, lifeline: lifeline.descriptor.raw,
      abort: abort?.rawValue)
    self.lifeline = lifeline
  }

  deinit {
    lifeline.letGo()
    _ = vsocfs_wait_for_exit(process)
  }

  /// Ends the guard, as the connection has ended.
  package consuming func stop() {}

  /// Starts `executable` as a guard: its pid.
  ///
  /// - Parameters:
  ///   - lifeline: the descriptor of a `Lifeline`.
  ///   - abort: the descriptor to write `1` to when it breaks.
  package static func spawn(
    _ executable: String = "/proc/self/exe", mountPoint: String, device: Int32, lifeline: Int32,
    abort: Int32?
  ) throws(Errno) -> Int32 {
    // The mountpoint does not come last, where that of a daemon stands.
    let numbers = [device, lifeline, abort ?? -1]
    let texts = [CommandLine.arguments[0], option, mountPoint] + numbers.map { "\($0)" }
    var arguments = unsafe texts.map { unsafe strdup($0) }
    defer { for index in unsafe arguments.indices { unsafe free(arguments[index]) } }
    unsafe arguments.append(nil)
    return try check {
      unsafe vsocfs_spawn_session(executable, arguments, environ, Array(numbers[1...]), 2)
    }
  }

  /// Is the guard, and does not return, if this process was started as one.
  package static func runIfAsked(by arguments: [String]) {
    guard arguments.count == 5, arguments[0] == option, let device = Int32(arguments[2]),
      let lifeline = Int32(arguments[3]), let abort = Int32(arguments[4])
    else { return }
    unsafe vsocfs_guard(arguments[1], device, lifeline, abort)
  }
}
