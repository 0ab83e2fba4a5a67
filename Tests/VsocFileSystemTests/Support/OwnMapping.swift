// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import TestSupport
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// Page-cache mode without a kernel: maps the region's file, which is what the pages are read from
/// and written back to.
final class OwnMapping: PageCacheMapping {
  private struct State {
    var count = 0
    var openers: Set<Int32> = []
    var isBlocked = false
  }

  private let state = Monitor(State())

  var isForUseOnly: Bool { true }

  func map(
    _ file: RegionFile, of region: UInt32, _ geometry: RegionGeometry
  ) throws(Errno) -> SharedMapping {
    state.withLock { $0.count += 1 }
    let isReleased = state.wait(until: .after(seconds: 2 * ServedTree.patience)) { state in
      state.isBlocked ? nil : true
    }
    guard isReleased == true else { throw .timedOut }
    return try SharedMapping(descriptor: file.descriptor.raw, size: Int(geometry.size))
  }

  func isOpening(_ thread: Int32) -> Bool { state.withLock { $0.openers.contains(thread) } }

  /// How often something was, or is being, mapped.
  var count: Int { state.withLock { $0.count } }

  /// Who maps waits from now on, or no longer.
  func setBlocked(_ isBlocked: Bool) { state.withLock { $0.isBlocked = isBlocked } }

  /// Takes a caller for a thread of the daemon that opens a file of its own.
  func add(_ caller: FuseWire.Caller) {
    state.withLock { _ = $0.openers.insert(Int32(bitPattern: caller.pid)) }
  }
}
