// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// Going on in the background: the program starts itself once more, and waits until that one says that
/// it is ready, which then goes on in a session of its own.
///
/// A fork without exec is no way to do it: a Mutex that was used before it breaks in the child.
package enum DetachedProcess {
  package enum Outcome: Hashable, Sendable {
    case ready
    /// It ended before it was ready, having said why on stderr: its status, or 128 plus a signal.
    case ended(status: Int32)
  }

  /// Starts this program again and waits for it.
  ///
  /// - Parameter descriptorOption: goes before all other arguments, with the number of the
  ///   descriptor on which `announceReady` is to be called.
  package static func run(descriptorOption: String) throws(Errno) -> Outcome {
    var ends: [Int32] = [-1, -1]
    try check { unsafe vsocfs_pipe(&ends) }
    let reading = Descriptor(owning: ends[0])
    let child: Int32
    do {
      // Only the child may have it open, so that its end is seen here.
      let writing = Descriptor(owning: ends[1])
      child = try spawn(option: descriptorOption, inherited: writing)
    }
    var byte: UInt8 = 0
    let count = try check(retryOnInterrupt: true) {
      let count = unsafe read(reading.raw, &byte, 1)
      return count < 0 ? -errno : Int32(count)
    }
    guard count == 0 else { return .ready }
    return .ended(status: try check { vsocfs_wait_for_exit(child) })
  }

  private static func spawn(
    option: String, inherited: borrowing Descriptor
  ) throws(Errno) -> Int32 {
    // The arguments as they came: they may be no UTF-8.
    var arguments = unsafe Array(
      UnsafeBufferPointer(start: CommandLine.unsafeArgv, count: Int(CommandLine.argc)))
    let added = unsafe strdup("\(option)=\(inherited.raw)")
    defer { unsafe free(added) }
    unsafe arguments.insert(added, at: min(1, arguments.count))
    unsafe arguments.append(nil)
    return try check {
      unsafe vsocfs_spawn_helper(
        "/proc/self/exe", arguments, environ, STDERR_FILENO, inherited.raw)
    }
  }

  /// Tells who started this process that it is ready, and lets go of their session and working
  /// directory: relative paths must have been read or made absolute.
  package static func announceReady(on descriptor: consuming Descriptor) {
    StandardStreams.detach()
    // Not before there is a mount: of the place of an automount (autofs) the kernel lets only the
    // process group of the automounter in, and holds everybody else until something is mounted there.
    _ = setsid()
    _ = unsafe chdir("/")
    // Whoever waited may be gone: that is no reason to end.
    _ = signal(SIGPIPE, SIG_IGN)
    var byte: UInt8 = 1
    _ = unsafe write(descriptor.raw, &byte, 1)
  }
}
