// SPDX-License-Identifier: Apache-2.0

internal import Synchronization
internal import SystemPackage
internal import VsocProtocol

/// Why a wait ended without the event that it was for.
package enum Abandonment: Error, Hashable, Sendable {
  /// The caller got a signal, or was killed (EINTR).
  case interrupted
  /// Its deadline passed (ETIMEDOUT).
  case timedOut
  /// The file was released, or the mount ends (ENODEV).
  case gone
  /// As much waits for this user as may (ENOBUFS); see `Parking`.
  case refused
  /// The region's memory is broken (EIO).
  case broken
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

  /// Looks for the event, and enters the list of those who wait for it if it has not come.
  func enter() throws(Errno) {}

  /// Finishes the wait without its event. The waiter is claimed and no lock is held.
  func abandon(_ reason: Abandonment) {}

  /// Takes the waiter out of the list that it stands in. The region's lock is held.
  func leave(_ state: inout RegionState) {}

  /// Bytes that are kept for it.
  var cost: Int { Self.usualCost }
  static let usualCost = 1024

  /// Makes the wait known, so that it can be interrupted: before its caller can be. A user for whom enough
  /// waits already is refused, which ends it.
  package func register(for user: UInt32 = 0) {
    if !region.parking.register(self, for: user), claim() { abandon(.refused) }
  }

  /// Begins to wait. If that fails, the wait ends: with `.gone` if the region is gone.
  package func begin() {
    do throws(Errno) {
      try enter()
    } catch {
      region.parking.abandon(token: token, error == .ioError ? .broken : .gone)
    }
  }
}
