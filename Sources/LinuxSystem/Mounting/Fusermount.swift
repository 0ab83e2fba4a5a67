// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import SystemPackage

/// fusermount3(1), the set-user-ID program with which users other than root mount and unmount.
///
/// libfuse runs it, too, but lets it write to standard error; here what it has to say is the text of
/// the error. It decides what a user may do (a mount point of his own, allow_other as /etc/fuse.conf
/// has it), and its warnings of what it leaves out (suid, dev) are dropped: they change nothing in a
/// tree without such files.
package enum Fusermount {
  private static let program = "fusermount3"

  /// Mounts at a directory.
  ///
  /// - Parameter options: escaped as libfuse has it.
  /// - Returns: the connection, an open /dev/fuse.
  package static func mount(
    at path: String, options: [String]
  ) throws(FusermountError) -> Descriptor {
    var ends: [Int32] = [-1, -1]
    do throws(Errno) {
      try check { unsafe vsocfs_socket_pair(&ends) }
    } catch {
      throw FusermountError("cannot talk to \(program): \(error)")
    }
    let ours = Descriptor(owning: ends[0])
    let its = Descriptor(owning: ends[1])
    try run(["-o", options.joined(separator: ","), "--", path], socket: its.raw)
    do throws(Errno) {
      return Descriptor(owning: try check { vsocfs_receive_descriptor(ours.raw) })
    } catch {
      throw FusermountError("\(program) gave no connection: \(error)")
    }
  }

  /// Unmounts what this user has mounted last at a directory.
  ///
  /// - Parameter lazily: also while it is in use, by those for whom it then goes on.
  package static func unmount(_ path: String, lazily: Bool) throws(FusermountError) {
    try run(["-u"] + (lazily ? ["-z"] : []) + ["--", path])
  }

  // MARK: - The process

  /// Runs it to its end, with the end of a socket for the connection.
  private static func run(
    _ arguments: [String], socket: Int32? = nil
  ) throws(FusermountError) {
    let messages: String
    let status: Int32
    do throws(Errno) {
      var ends: [Int32] = [-1, -1]
      try check { unsafe vsocfs_pipe(&ends) }
      let reading = Descriptor(owning: ends[0])
      let child: Int32
      do {
        // Only the child may have it open, so that its end is seen here.
        let writing = Descriptor(owning: ends[1])
        child = try spawn(arguments, error: writing.raw, socket: socket)
      }
      messages = (try? reading.readToEnd()) ?? ""
      status = try check { vsocfs_wait_for_exit(child) }
    } catch {
      throw FusermountError(
        error == .noSuchFileOrDirectory
          ? "\(program), which mounts for users other than root, is not installed (package fuse3)"
          : "cannot run \(program): \(error)")
    }
    guard status == 0 else { throw FusermountError(status: status, messages: messages) }
  }

  private static func spawn(
    _ arguments: [String], error: Int32, socket: Int32?
  ) throws(Errno) -> Int32 {
    var arguments = unsafe ([program] + arguments).map { unsafe strdup($0) }
    // Goes before the rest, so that it is the one that counts.
    let added = unsafe socket.map { unsafe [strdup("_FUSE_COMMFD=\($0)")] } ?? []
    let owned = unsafe arguments + added
    defer { for index in unsafe owned.indices { unsafe free(owned[index]) } }
    unsafe arguments.append(nil)
    // The rest as it came: it may be no UTF-8.
    var environment = unsafe added
    var variables = unsafe environ
    while let variable = unsafe variables.pointee {
      unsafe environment.append(variable)
      unsafe variables += 1
    }
    unsafe environment.append(nil)
    return try check {
      unsafe vsocfs_spawn_helper(program, arguments, environment, error, socket ?? -1)
    }
  }
}

/// Why fusermount3 did not do it, in one line.
package struct FusermountError: Error, Hashable, Sendable, CustomStringConvertible {
  package let description: String

  fileprivate init(_ description: String) {
    self.description = description
  }

  /// From what it said: one or more lines that begin with its name.
  fileprivate init(status: Int32, messages: String) {
    let prefix = "fusermount3: "
    let lines = messages.split(separator: "\n").map { line in
      line.hasPrefix(prefix) ? line.dropFirst(prefix.count) : line
    }
    description =
      prefix + (lines.isEmpty ? "ended with status \(status)" : lines.joined(separator: "; "))
  }
}
