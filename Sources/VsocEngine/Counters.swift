// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// What has happened in all regions, for `.vsocfs/stats`. Each counter only grows.
package final class Counters: Sendable {
  private let posts = Atomic(0)
  private let rings = Atomic(0)
  private let drains = Atomic(0)
  private let offsets = Atomic(0)
  private let injections = Atomic(0)
  private let notifications = Atomic(0)
  private let condWakes = Atomic(0)
  private let badOffsets = Atomic(0)
  private let lostPostBacks = Atomic(0)
  private let claims = Atomic(0)
  private let refusedClaims = Atomic(0)

  /// A permission was claimed that nobody else had, or somebody had.
  func addClaim(isRefused: Bool) {
    if isRefused {
      refusedClaims.wrappingAdd(1, ordering: .relaxed)
    } else {
      claims.wrappingAdd(1, ordering: .relaxed)
    }
  }

  func add(_ wakes: borrowing Wakes) {
    func add(_ count: Int, to counter: borrowing Atomic<Int>) {
      if count != 0 { counter.wrappingAdd(count, ordering: .relaxed) }
    }
    add(wakes.posts, to: posts)
    add(wakes.rings, to: rings)
    add(wakes.drains, to: drains)
    add(wakes.offsets, to: offsets)
    add(wakes.injections, to: injections)
    add(wakes.notifications, to: notifications)
    add(wakes.condWakes, to: condWakes)
    add(wakes.badOffsets, to: badOffsets)
    add(wakes.lostPostBacks, to: lostPostBacks)
  }

  /// Names and values, in the order in which they are shown.
  package var values: [(name: String, value: Int)] {
    func value(_ counter: borrowing Atomic<Int>) -> Int { counter.load(ordering: .relaxed) }
    return [
      ("posts", value(posts)),
      ("rings", value(rings)),
      ("drains", value(drains)),
      ("offsets_drained", value(offsets)),
      ("signal_injections", value(injections)),
      ("signal_notifications", value(notifications)),
      ("cond_wakes", value(condWakes)),
      ("bad_offsets", value(badOffsets)),
      ("post_backs_lost", value(lostPostBacks)),
      ("claims", value(claims)),
      ("claims_refused", value(refusedClaims)),
    ]
  }
}
