// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine

/// A directory. A reader that goes back to the start sees it as it is then.
final class OpenDirectory: OpenFile, @unchecked Sendable {
  private let fileSystem: VsocFileSystem
  private let node: Node
  private let listing: Lock<SharedVersion<[DirectoryEntry]>>

  /// - Throws: ENFILE: there is no room for the listing.
  init(_ node: Node, _ fileSystem: VsocFileSystem, for caller: Caller) throws(Errno) {
    self.node = node
    self.fileSystem = fileSystem
    listing = Lock(try fileSystem.listing(of: node, for: caller))
  }

  override func readDirectory(
    _ request: consuming Request<Answer.Bytes>, offset: UInt64, size: Int
  ) {
    var current = listing.withLock { $0 }
    if offset == 0 {
      do throws(Errno) {
        current = try fileSystem.listing(of: node, for: request.caller)
      } catch {
        return request.fail(error)
      }
      let new = current
      // The one before goes after the lock is released.
      let old = listing.withLock { listing in
        defer { listing = new }
        return listing
      }
      withExtendedLifetime(old) {}
    }
    let entries = current.value
    request.reply(entries: entries[Int(min(offset, UInt64(entries.count)))...], size: size)
  }
}
