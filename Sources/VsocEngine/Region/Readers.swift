// SPDX-License-Identifier: Apache-2.0

package import VsocProtocol

/// Told that a file may have become readable or writable. Called with no lock held, from any thread.
package protocol ReadinessObserver: AnyObject, Sendable {
  ///
  /// - Parameter isOneOfMany: so many are told at once that nobody should wait for it.
  func readinessMayHaveChanged(isOneOfMany: Bool)
}

/// An open handle of an end's doorbell: how far it has read. Guarded by the region's lock.
package final class DoorbellReader: @unchecked Sendable {
  package let region: Region
  package let end: End
  var position: UInt64 = 0
  /// Whether anyone has polled it, who may be told of a change; sticky.
  var isPolled = false
  /// Whether anyone polls for room to write; sticky.
  var watchesWritability = false
  weak let observer: (any ReadinessObserver)?

  init(region: Region, end: End, observer: (any ReadinessObserver)?) {
    self.region = region
    self.end = end
    self.observer = observer
  }
}

/// An open handle of an end's signal file: the count that it has seen. Guarded by the region's lock.
package final class SignalReader: @unchecked Sendable {
  package let region: Region
  package let end: End
  var seen: UInt64 = 0
  /// Whether anyone has polled it, who may be told of a change; sticky.
  var isPolled = false
  weak let observer: (any ReadinessObserver)?

  init(region: Region, end: End, observer: (any ReadinessObserver)?) {
    self.region = region
    self.end = end
    self.observer = observer
  }
}
