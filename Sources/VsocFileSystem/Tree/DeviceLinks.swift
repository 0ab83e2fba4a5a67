// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocProtocol

/// A symbolic link in /dev to each region's `data`, where the original driver had its device nodes
/// (`dev_links`).
///
/// May be used from any thread. Its lock is a leaf; it is held while names in /dev change, which nobody
/// waits for.
package final class DeviceLinks: Sendable {
  private let directory: Directory
  private let mountPoint: String
  private let names = Lock<Set<RegionName>>([])

  /// - Parameters:
  ///   - path: opened now: what is mounted there later is not looked into.
  ///   - mountPoint: absolute.
  package init(in path: String = "/dev", to mountPoint: String) throws(Errno) {
    directory = try Directory(path: path)
    self.mountPoint = mountPoint
  }

  /// Makes a region's link; one that a daemon of the same mount point has left is taken over.
  ///
  /// - Throws: EEXIST: the name is taken.
  package func add(_ name: RegionName) throws(Errno) {
    try names.withLock { names throws(Errno) in
      guard !names.contains(name) else { throw .fileExists }
      do throws(Errno) {
        try directory.makeLink(name.description, to: target(of: name))
      } catch .fileExists {
        guard isOurs(name) else { throw .fileExists }
      }
      names.insert(name)
    }
  }

  /// Removes a region's link, if it has one and nobody has put something else in its place.
  package func remove(_ name: RegionName) {
    names.withLock { names in
      if names.remove(name) != nil { unlink(name) }
    }
  }

  package func removeAll() {
    names.withLock { names in
      for name in names { unlink(name) }
      names = []
    }
  }

  /// For messages.
  package func path(of name: RegionName) -> String { directory.path(of: name.description) }

  private func target(of name: RegionName) -> String { "\(mountPoint)/\(name)/data" }

  private func isOurs(_ name: RegionName) -> Bool {
    directory.link(name.description) == target(of: name)
  }

  private func unlink(_ name: RegionName) {
    if isOurs(name) { try? directory.remove(name.description) }
  }
}
