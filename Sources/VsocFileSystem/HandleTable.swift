// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import VsocEngine

/// Open files by the number that the kernel uses for them. Numbers are not used twice. Each counts for the
/// user who opened it.
struct HandleTable {
  private struct Entry {
    let file: OpenFile
    let user: UInt32
    let descriptors: Int
  }

  /// What an open file takes is some hundred bytes.
  private static let capacity = 32_768
  /// Of the descriptors that this process may have no user gets more than this part for his open files;
  /// he may have as many again by other ways (docs/security.md).
  private static let descriptorsPart = 8

  private var entries: [UInt64: Entry] = [:]
  private var last: UInt64 = 0
  private var files: UserShares
  private var descriptors: UserShares

  init(trusted: UserShares.Trusted, descriptors: Int = ResourceLimits.descriptors) {
    files = UserShares(of: Self.capacity, trusted: trusted)
    self.descriptors = UserShares(
      of: descriptors, each: descriptors / Self.descriptorsPart, trusted: trusted)
  }

  subscript(number: UInt64) -> OpenFile? { entries[number]?.file }

  /// Nil if the user has as many open as he may.
  mutating func add(_ file: OpenFile, of user: UInt32) -> UInt64? {
    let cost = file.descriptorCost
    guard files.take(for: user) else { return nil }
    guard descriptors.take(cost, for: user) else {
      files.giveBack(of: user)
      return nil
    }
    last += 1
    entries[last] = Entry(file: file, user: user, descriptors: cost)
    return last
  }

  mutating func remove(_ number: UInt64) -> OpenFile? {
    guard let entry = entries.removeValue(forKey: number) else { return nil }
    files.giveBack(of: entry.user)
    descriptors.giveBack(entry.descriptors, of: entry.user)
    return entry.file
  }

  /// Gives all of them, and has none afterwards.
  mutating func takeAll() -> [OpenFile] {
    Array(entries.keys).compactMap { remove($0) }
  }

  var count: Int { entries.count }
}
