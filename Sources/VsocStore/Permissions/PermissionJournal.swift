// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocConfiguration
internal import VsocEngine
internal import VsocProtocol

/// The permissions that live, in a file of the store: those that die with the daemon are found in it
/// at the next start, their areas brought back and their owner words freed.
///
/// A permission is recorded before its owner word is taken, and forgotten after the word was given
/// back. Its line says that the area is `given` once the area's file is filled; until then it is
/// only `begun`, and what the file holds is no part of the region. A line more than there are
/// permissions does no harm: a word is freed only if it holds what the line says, and an area is
/// brought back only from a file of its size.
///
/// The lines are as long as one another, each is written over in its place, and none crosses a page,
/// so that a daemon that is killed leaves whole lines only. They are not synchronized to the disk:
/// like the owner words, they survive the daemon but not a failure of power.
final class PermissionJournal: Sendable {
  static let name = "permissions"
  static let lineLength = 256
  /// More could not be read again.
  private static let maximumCount = LayoutFile.maximumSize / lineLength

  private struct Slots {
    /// Places for new lines. The last ones were in use until just now.
    var free: [Int] = []
    /// The area that each line names; nil where it is blank.
    var areas: [UInt64?] = []
  }

  private let file: Descriptor
  private let slots = Lock(Slots())

  /// - Parameter file: empty.
  init(_ file: consuming Descriptor) {
    self.file = file
  }

  /// Writes a permission down, which survives the daemon from now on.
  ///
  /// - Throws: ENOSPC: the disk is full, or there are too many.
  func record(_ record: PermissionRecord) throws(Errno) -> PermissionSlot {
    try slots.withLock { slots throws(Errno) in
      // A line that could not be forgotten must not take the new contents of its file for its own.
      let place = slots.free.lastIndex { slots.areas[$0] == record.area }
      let free = place ?? slots.free.indices.last
      let number = free.map { slots.free[$0] } ?? slots.areas.count
      guard number < Self.maximumCount else { throw .noSpace }
      do throws(Errno) {
        try write(Entry(record: record, state: .begun).line, at: number)
      } catch {
        // Not a part of a line may stay.
        if free == nil { try? file.truncate(to: Self.position(of: number)) }
        throw error
      }
      if let free {
        slots.free.remove(at: free)
        slots.areas[number] = record.area
      } else {
        slots.areas.append(record.area)
      }
      return PermissionSlot(number: number)
    }
  }

  /// The area's file is what counts from now on.
  func markFilled(_ slot: PermissionSlot) throws(Errno) {
    try write(State.given.rawValue, at: slot.number)
  }

  /// Forgets a permission whose owner word is free. If that fails, the line stays until another
  /// takes its place.
  func forget(_ slot: PermissionSlot) throws(Errno) {
    try slots.withLock { slots throws(Errno) in
      slots.free.append(slot.number)
      try write(Self.blank, at: slot.number)
      slots.areas[slot.number] = nil
    }
  }

  private func write(_ text: String, at number: Int) throws(Errno) {
    try file.write(Array(text.utf8), at: Self.position(of: number))
  }

  private static func position(of number: Int) -> UInt64 { UInt64(number * lineLength) }
}

// MARK: - Lines

extension PermissionJournal {
  /// How far a claim has got. A line begins with this: its words have the same length, so that one
  /// takes the place of the other at once.
  enum State: String {
    /// The area's file is not there yet, or not whole.
    case begun
    case given
  }

  struct Entry: Hashable {
    var record: PermissionRecord
    var state: State
  }

  private static let blank = padded("")

  fileprivate static func padded(_ text: String) -> String {
    text + String(repeating: " ", count: lineLength - 1 - text.utf8.count) + "\n"
  }

  /// The permissions in the bytes of a journal; nil if these are none. What follows the last whole
  /// line was never recorded to its end, and bytes of zero never came to the disk.
  static func entries(in bytes: [UInt8]) -> [Entry]? {
    var found: [Entry] = []
    for start in stride(from: 0, through: bytes.count - lineLength, by: lineLength) {
      let line = bytes[start..<start + lineLength]
      if line.allSatisfy({ $0 == 0 }) { continue }
      let text = String(decoding: line, as: UTF8.self)
      if text == blank { continue }
      guard let entry = Entry(line: text) else { return nil }
      found.append(entry)
    }
    return found
  }
}

extension PermissionJournal.Entry {
  /// `given REGION MANAGER BEGIN END OWNER_OFFSET OWNED_VALUE AREA`
  var line: String {
    let permission = record.permission
    return PermissionJournal.padded(
      "\(state) \(record.region.encoded) \(record.manager.encoded) "
        + "\(permission.beginOffset) \(permission.endOffset) "
        + "\(permission.ownerOffset) \(permission.ownedValue) \(record.area)")
  }

  /// Nil for a line that nobody can have written.
  init?(line: String) {
    let words = line.dropLast().split(separator: " ")
    guard words.count == 8, let state = PermissionJournal.State(rawValue: String(words[0])),
      let region = RegionName(encoded: words[1]), let manager = RegionName(encoded: words[2]),
      let begin = UInt32(words[3]), let end = UInt32(words[4]), begin < end,
      let ownerOffset = UInt32(words[5]),
      let ownedValue = UInt32(words[6]), ownedValue != Permission.free,
      let area = UInt64(words[7])
    else { return nil }
    self.state = state
    record = PermissionRecord(
      region: region, manager: manager,
      permission: Permission(
        beginOffset: begin, endOffset: end, ownerOffset: ownerOffset, ownedValue: ownedValue),
      area: area)
    guard line == self.line else { return nil }
  }
}
