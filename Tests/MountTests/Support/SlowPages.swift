// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

/// A file system of an attacker's own whose pages do not come (`Tests/Clients/slow-pages`). Whoever
/// touches one waits in the kernel until they are let go, or this is gone.
final class SlowPages {
  private let directory: TemporaryDirectory
  private let mountpoint: String
  private let server: ChildProcess
  private var last = 0

  init(of user: mt_identity = .attacker) throws {
    directory = try TemporaryDirectory()
    mountpoint = directory.path + "/slow"
    unsafe mkdir(mountpoint, 0o755)
    server = try ChildProcess(
      Programs.slowPages, ["\(user.uid)", mountpoint])
    do {
      #expect(try server.line() == "ready")
    } catch {
      end()
      throw error
    }
  }

  deinit { end() }

  /// The path of a file that nobody has touched: each use needs one of its own.
  func page() -> String {
    last += 1
    return mountpoint + "/p\(last)"
  }

  /// Has all pages come, now and from now on.
  func letGo() throws {
    try server.send(line: "go")
    #expect(try server.line() == "released")
  }

  /// Whoever waits for a page gets an error.
  func end() {
    server.kill()
    while Mounts.contains(mountpoint), unsafe mt_umount_detach(mountpoint) == 0 {}
  }
}
