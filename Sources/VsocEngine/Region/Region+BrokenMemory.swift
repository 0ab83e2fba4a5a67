// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging

/// What becomes of a region when a page of its file cannot be had.
///
/// A client can give pages of a file of a store back (madvise(2) MADV_REMOVE); if the disk is full then,
/// the next access to them is a SIGBUS. `SharedMapping` survives it. What the memory says is not to be
/// relied on afterwards: calls fail, until nobody uses the region any more and the next one maps it anew.
extension Region {
  /// Says once that the memory is broken, if it is, and ends the calls that wait for something to come of
  /// it. No lock may be held.
  func reportBrokenMemory() {
    guard let memory = state.withLock({ $0.memory }), memory.beginReport() else { return }
    isMemoryBroken = true
    log.error(
      "a page of the memory of region \"\(name)\" cannot be had (SIGBUS): calls fail with EIO until nobody uses it"
    )
    parking.abandonAll(.broken) { $0.region === self }
    watcher.collect()
  }

  /// The same of an area: that is its holder's alone, and lasts until he gives it up.
  func reportBroken(_ holding: Holding) {
    let isFirst = permissions.withLock { _ in
      defer { holding.isReported = true }
      return !holding.isReported
    }
    guard isFirst else { return }
    let area = holding.permission.beginOffset..<holding.permission.endOffset
    log.error(
      "a page of an area of region \"\(name)\" (\(area)) cannot be had (SIGBUS): calls on it fail with EIO until it is given up"
    )
    endSleeps(in: holding.permission, .broken)
  }
}
