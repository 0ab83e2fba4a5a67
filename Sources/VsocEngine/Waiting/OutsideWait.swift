// SPDX-License-Identifier: Apache-2.0

internal import VsocProtocol

/// A call that waits for something outside of its region, of which somebody else tells.
package final class OutsideWait: Waiter, @unchecked Sendable {
  private let completion: @Sendable (Abandonment) -> Void

  /// - Parameter completion: called if the wait is given up.
  package init(_ region: Region, completion: @escaping @Sendable (Abandonment) -> Void) {
    self.completion = completion
    super.init(region: region, end: .guest)
  }

  /// What it waited for has come: whether it waits still. Then it is over, and nobody gives it up any more.
  package func finish() -> Bool {
    guard claim() else { return false }
    region.parking.forget(self)
    return true
  }

  override func abandon(_ reason: Abandonment) { completion(reason) }
}
