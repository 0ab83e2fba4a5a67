// SPDX-License-Identifier: Apache-2.0

internal import CFuseIO
internal import LinuxSystem
package import SystemPackage

/// Owns a backing id: a file that the kernel reads, writes and maps in place of ours
/// (FUSE passthrough, Linux 6.9; it needs CAP_SYS_ADMIN).
package struct BackingFile: ~Copyable, Sendable {
  let id: Int32
  private let session: Session

  /// Registers a file, which the kernel keeps open for itself.
  package init(_ descriptor: Int32, session: Session) throws(Errno) {
    let connection = session.descriptor
    id = try check { vsocfs_fuse_backing_open(connection, descriptor) }
    self.session = session
  }

  deinit {
    _ = vsocfs_fuse_backing_close(session.descriptor, id)
  }
}
