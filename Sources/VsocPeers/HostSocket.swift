// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import LinuxSystem
internal import SystemPackage

/// The socket at which host clients connect, in the file system of the machine. Its file goes with it.
package final class HostSocket: Sendable {
  /// Only the one who mounts may come, unless he says otherwise with chmod(1).
  private static let mode: UInt32 = 0o600

  private let path: String
  private let file: stat
  private let socket: Lock<Descriptor?>

  /// Listens there. A socket that nobody listens to any more makes way.
  ///
  /// - Parameter path: absolute, or from the working directory as it is now; made absolute then.
  /// - Throws: an error whose description is one line.
  package init(at path: String) throws(HostSocketError) {
    self.path = Self.absolute(path)
    var found = stat()
    if unsafe lstat(self.path, &found) == 0 {
      guard found.st_mode & S_IFMT == S_IFSOCK else {
        throw HostSocketError("\(path): there is something else than a socket")
      }
      guard !UnixSocket.isListening(at: path) else {
        throw HostSocketError("\(path): somebody listens there already")
      }
      guard unsafe unlink(self.path) == 0 else {
        throw HostSocketError("\(path): \(Errno(rawValue: errno))")
      }
    }
    do throws(Errno) {
      // As it was given: a path of a socket must be short.
      socket = Lock(try UnixSocket.listen(at: path, mode: Self.mode))
    } catch {
      throw HostSocketError("\(path): \(error)")
    }
    var file = stat()
    _ = unsafe lstat(self.path, &file)
    self.file = file
  }

  deinit { remove() }

  func takeSocket() -> Descriptor? { socket.withLock { $0.take() } }

  /// Removes the file, unless it is another one by now.
  package func remove() {
    var found = stat()
    // The number of the inode alone may be another file's by now.
    guard unsafe lstat(path, &found) == 0, found.st_mode & S_IFMT == S_IFSOCK,
      found.st_ino == file.st_ino, found.st_dev == file.st_dev
    else { return }
    _ = unsafe unlink(path)
  }

  private static func absolute(_ path: String) -> String {
    guard !path.hasPrefix("/"), let directory = unsafe getcwd(nil, 0) else { return path }
    defer { unsafe free(directory) }
    return unsafe String(cString: directory) + "/" + path
  }
}

/// Why there is no host socket, in one line.
package struct HostSocketError: Error, Hashable, Sendable, CustomStringConvertible {
  package let description: String

  init(_ problem: String) { description = "--host-socket \(problem)" }
}
