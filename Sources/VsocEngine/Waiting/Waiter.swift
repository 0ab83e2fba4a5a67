// SPDX-License-Identifier: Apache-2.0

internal import Synchronization
internal import VsocProtocol

/// Why a wait ended without the event that it was for.
package enum Abandonment: Error, Hashable, Sendable {
  /// The caller got a signal, or was killed (EINTR).
  case interrupted
  /// Its deadline passed (ETIMEDOUT).
  case timedOut
  /// The file was released, or the mount ends (ENODEV).
  case gone
}

/// A call that waits in a region, without a thread: an event, a deadline, an interrupt, a release
/// or the end of the mount finishes it, whichever claims it first.
///
/// `claim` decides who that is; the winner alone calls the completion, with no lock held. A waiter
/// stands in at most one list of its region's state, which the region's lock guards.
package class Waiter: @unchecked Sendable {
  /// Names the waiter in `Parking`; never used twice.
  package let token: UInt64
  let region: Region
  let end: End
  private let claimed = Atomic(false)

  init(region: Region, end: End) {
    self.region = region
    self.end = end
    token = region.parking.nextToken()
  }

  /// True for one caller only, who must finish the wait.
  func claim() -> Bool {
    claimed.compareExchange(expected: false, desired: true, ordering: .acquiringAndReleasing)
      .exchanged
  }

  var isClaimed: Bool { claimed.load(ordering: .acquiring) }

  /// Finishes the wait without its event. The waiter is claimed and no lock is held.
  func abandon(_ reason: Abandonment) {}

  /// Takes the waiter out of the list that it stands in. The region's lock is held.
  func leave(_ state: inout RegionState) {}
}

extension Waiter {
  /// Lets the waiter wait; if that fails, because the region is gone, ends it.
  package func park<Failure>(_ enter: () throws(Failure) -> Void) {
    do throws(Failure) {
      try enter()
    } catch {
      region.parking.abandon(token: token, .gone)
    }
  }
}
