// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import SystemPackage

/// A process that looks, one look after the other (`vsocfs_look_run`). It has nothing of this one but
/// its socket and its rights, and ends with the socket; while it waits for what it looks at, nobody waits
/// for it.
package final class LookHelper: Sendable {
  private static let option = "--look"

  let pid: Int32
  let socket: Descriptor
  /// Readable when the process has ended.
  let end: Descriptor

  /// - Parameter executable: this program.
  init(_ executable: String) throws(Errno) {
    var ends: [Int32] = [-1, -1]
    try check { unsafe vsocfs_packet_pair(&ends) }
    let own = Descriptor(owning: ends[0])
    let other = Descriptor(owning: ends[1])
    let texts = [CommandLine.arguments.first ?? "vsocfs", Self.option, "\(other.raw)"]
    var arguments = unsafe texts.map { unsafe strdup($0) }
    defer { for index in unsafe arguments.indices { unsafe free(arguments[index]) } }
    unsafe arguments.append(nil)
    var inherited = [other.raw]
    pid = try check { unsafe vsocfs_spawn_session(executable, arguments, environ, &inherited, 1) }
    socket = own
    let child = pid
    end = Descriptor(owning: try check { vsocfs_pidfd_open(child) })
  }

  /// Is such a process, and does not return, if this one was started as one.
  package static func runIfAsked(by arguments: [String]) {
    guard arguments.count == 2, arguments[0] == option, let socket = Int32(arguments[1]) else {
      return
    }
    vsocfs_look_run(socket)
  }

  /// Does not wait. What cannot be sent is told by the end of the process.
  func ask(_ look: Look) {
    var question = look.question
    _ = unsafe vsocfs_look_send(socket.raw, &question)
  }

  enum Answer {
    case nothing
    case seen(vsocfs_seen)
    case ended
  }

  func answer() -> Answer {
    var seen = vsocfs_seen()
    switch unsafe vsocfs_look_receive(socket.raw, &seen) {
    case 1: return .seen(seen)
    case -EAGAIN, -EINTR: return .nothing
    default: return .ended
    }
  }

  /// Ends it as soon as it can be.
  func kill() { _ = Glibc.kill(pid, SIGKILL) }

  /// Ends one that does nothing, which does not take long.
  func endNow() {
    kill()
    var entry = pollfd(fd: end.raw, events: Int16(POLLIN), revents: 0)
    _ = unsafe poll(&entry, 1, 1000)
    _ = reap()
  }

  /// Whether it has ended; then there is nothing left of it.
  func reap() -> Bool {
    var status: Int32 = 0
    return unsafe waitpid(pid, &status, WNOHANG) != 0
  }
}
