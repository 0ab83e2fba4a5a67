// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine

/// How the memory of regions reaches those who open `data` (SPEC §8).
enum MemoryMode: Sendable {
  /// Not at all: every read and write comes to the daemon, as in tests that play the kernel.
  case served
  /// The kernel maps, reads and writes the region's file in place of ours.
  case passthrough(BackingFiles)
  /// The kernel's page cache of our inode is the memory.
  case pageCache(any PageCacheMapping)

  /// The name in `info`.
  var name: String {
    switch self {
    case .served, .passthrough: "passthrough"
    case .pageCache: "page-cache"
    }
  }

  /// Whether a region's memory can be told by its two ends: a page cache belongs to one inode.
  var pageCache: (any PageCacheMapping)? {
    if case .pageCache(let mapping) = self { mapping } else { nil }
  }
}

/// The backing ids of regions that have been opened, by index. Made inside the lock, which calls the
/// kernel.
final class BackingFiles: Sendable {
  private let session: Session
  private let byRegion = Lock<[UInt32: RegionBacking]>([:])

  init(_ session: Session) {
    self.session = session
  }

  func backing(of region: UInt32, _ file: RegionFile) throws(Errno) -> RegionBacking {
    try byRegion.withLock { backings throws(Errno) in
      if let known = backings[region] { return known }
      let new = RegionBacking(try BackingFile(file.descriptor.raw, session: session))
      backings[region] = new
      return new
    }
  }

  /// One that belongs to a single handle.
  func make(of file: RegionFile) throws(Errno) -> RegionBacking {
    RegionBacking(try BackingFile(file.descriptor.raw, session: session))
  }

  func forget(_ region: UInt32) {
    byRegion.withLock { _ = $0.removeValue(forKey: region) }
  }
}

/// Shares a backing file among a region's open handles.
final class RegionBacking: Sendable {
  let file: BackingFile

  init(_ file: consuming BackingFile) {
    self.file = file
  }
}
