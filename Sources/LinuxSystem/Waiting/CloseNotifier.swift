// SPDX-License-Identifier: Apache-2.0

internal import CLinux
package import SystemPackage

/// Tells when descriptors of files that were open for writing are closed, and mappings by way of
/// them are undone, in any process (inotify(7)).
package struct CloseNotifier: ~Copyable, Sendable {
  /// Readable when something was closed.
  package let descriptor: Descriptor

  package init() throws(Errno) {
    descriptor = Descriptor(owning: try check { vsocfs_inotify_create() })
  }

  /// Watches the file that a descriptor is open for; gives the number by which it is told.
  package func watch(_ file: Int32) throws(Errno) -> Int32 {
    let inotify = descriptor.raw
    return try check { vsocfs_inotify_watch_closes(inotify, file) }
  }

  package func unwatch(_ watch: Int32) {
    _ = vsocfs_inotify_unwatch(descriptor.raw, watch)
  }

  /// The watches of which something was closed. Does not wait.
  package func read() -> [Int32] {
    var watches = [Int32](repeating: 0, count: 16)
    let count = unsafe vsocfs_inotify_read(descriptor.raw, &watches, 16)
    return Array(watches.prefix(max(0, Int(count))))
  }
}
