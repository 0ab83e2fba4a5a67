// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocProtocol

/// A permission as far as it leaves something in memory that outlives the daemon: the word of its
/// manager that says who owns the area.
package struct StoredPermission: Hashable, Sendable {
  package var manager: RegionName
  /// The word's place in the manager's region.
  package var ownerOffset: UInt32
  /// What the word holds as long as the permission lives.
  package var ownedValue: UInt32

  package init(manager: RegionName, ownerOffset: UInt32, ownedValue: UInt32) {
    self.manager = manager
    self.ownerOffset = ownerOffset
    self.ownedValue = ownedValue
  }
}

/// The permissions that live, in a file of the store: those that die with the daemon are found in it
/// at the next start, and their owner words freed.
///
/// A permission is recorded before its owner word is taken, and forgotten after the word was given
/// back. A line more than there are permissions does no harm: a word is freed only if it holds what
/// the line says. The lines are as long as one another, each is written over in its place, and none
/// crosses a page, so that a daemon that is killed leaves whole lines only. They are not synchronized
/// to the disk: like the owner words, they survive the daemon but not a failure of power.
package final class PermissionJournal: Sendable {
  /// A place in the journal.
  package struct Slot: Hashable, Sendable {
    fileprivate let number: Int
  }

  static let name = "permissions"
  static let lineLength = 128

  private struct Slots {
    var free: [Int] = []
    var count = 0
  }

  private let file: Descriptor
  private let slots = Lock(Slots())

  /// - Parameter file: empty.
  init(_ file: consuming Descriptor) {
    self.file = file
  }

  /// Writes a permission down, which survives the daemon from now on.
  package func record(_ permission: StoredPermission) throws(Errno) -> Slot {
    try slots.withLock { slots throws(Errno) in
      let number = slots.free.last ?? slots.count
      do throws(Errno) {
        try write(Self.line(permission), at: number)
      } catch {
        // Not a part of a line may stay.
        if number == slots.count { try? file.truncate(to: UInt64(number * Self.lineLength)) }
        throw error
      }
      if slots.free.popLast() == nil { slots.count += 1 }
      return Slot(number: number)
    }
  }

  /// Forgets a permission whose owner word is free.
  package func forget(_ slot: Slot) throws(Errno) {
    try slots.withLock { slots throws(Errno) in
      try write(Self.blank, at: slot.number)
      slots.free.append(slot.number)
    }
  }

  private func write(_ line: String, at number: Int) throws(Errno) {
    try file.write(Array(line.utf8), at: UInt64(number * Self.lineLength))
  }

  // MARK: - Lines

  private static let blank = padded("")

  private static func line(_ permission: StoredPermission) -> String {
    padded(
      "\(permission.manager.encoded) \(permission.ownerOffset) \(permission.ownedValue)")
  }

  private static func padded(_ text: String) -> String {
    text + String(repeating: " ", count: lineLength - 1 - text.utf8.count) + "\n"
  }

  /// The permissions in the bytes of a journal; nil if these are none. What follows the last whole
  /// line was never recorded to its end, and bytes of zero never came to the disk.
  static func permissions(in bytes: [UInt8]) -> [StoredPermission]? {
    var found: [StoredPermission] = []
    for start in stride(from: 0, through: bytes.count - lineLength, by: lineLength) {
      let line = bytes[start..<start + lineLength]
      if line.allSatisfy({ $0 == 0 }) { continue }
      let text = String(decoding: line, as: UTF8.self)
      if text == blank { continue }
      let words = text.dropLast().split(separator: " ")
      guard words.count == 3, let manager = RegionName(encoded: words[0]),
        let offset = UInt32(words[1]), let value = UInt32(words[2])
      else { return nil }
      let permission = StoredPermission(manager: manager, ownerOffset: offset, ownedValue: value)
      guard text == Self.line(permission) else { return nil }
      found.append(permission)
    }
    return found
  }
}
