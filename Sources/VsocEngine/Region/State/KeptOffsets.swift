// SPDX-License-Identifier: Apache-2.0

/// What a region's maker may have kept of offsets: of those that readers have not read yet, and of those that
/// are owed to a peer whose table is full. Each end keeps a few in any case, and takes portions of more.
final class KeptOffsets: Sendable {
  /// Kept in any case.
  static let free = 128
  static let portion = 1024
  /// Portions of all regions together: a million offsets, which take some 50 MB.
  static let capacity = 1024

  private let quota: UserQuota
  private let user: UInt32

  init(_ quota: UserQuota, of user: UInt32) {
    self.quota = quota
    self.user = user
  }

  /// A portion more; false if there is none for this user.
  func take() -> Bool { quota.take(1, for: user) }

  /// Gives all portions back of which `count` offsets consist.
  func giveBack(after count: Int) {
    guard count > Self.free else { return }
    quota.giveBack((count - Self.free + Self.portion - 1) / Self.portion, of: user)
  }
}
