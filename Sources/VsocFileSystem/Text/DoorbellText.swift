// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// What is written to a doorbell: offsets, decimal or 0x hex, separated by white space. A 0, or a
/// line without any, is a ring without an offset (SPEC §6).
struct DoorbellText {
  private(set) var offsets: [UInt32] = []
  /// For each offset, how many bytes of the text end with it.
  private(set) var ends: [Int] = []
  private(set) var isBareRing = false
  let length: Int

  /// - Throws: EINVAL for what is no number.
  init(_ text: UnsafeRawBufferPointer) throws(Errno) {
    length = text.count
    var isLineEmpty = true
    var index = 0
    while index < text.count {
      let byte = unsafe text[index]
      if byte == UInt8(ascii: "\n") {
        if isLineEmpty { isBareRing = true }
        isLineEmpty = true
        index += 1
      } else if Self.isSpace(byte) {
        index += 1
      } else {
        let value = unsafe try Self.number(text, &index)
        isLineEmpty = false
        if value == 0 {
          isBareRing = true
        } else {
          offsets.append(value)
          ends.append(index)
        }
      }
    }
    if offsets.isEmpty { isBareRing = true }
  }

  private static func isSpace(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: " ") || (9...13).contains(byte)
  }

  private static func number(
    _ text: UnsafeRawBufferPointer, _ index: inout Int
  ) throws(Errno) -> UInt32 {
    var base: UInt64 = 10
    if index + 1 < text.count, unsafe text[index] == UInt8(ascii: "0"),
      unsafe text[index + 1] | 0x20 == UInt8(ascii: "x")
    {
      base = 16
      index += 2
    }
    var value: UInt64 = 0
    var digits = 0
    while index < text.count, unsafe !isSpace(text[index]) {
      let digit = unsafe digit(text[index])
      guard digit < base else { throw .invalidArgument }
      // Stays too large, however many digits follow.
      value = min(value * base + digit, UInt64(UInt32.max) + 1)
      digits += 1
      index += 1
    }
    guard digits > 0 else { throw .invalidArgument }
    // Beyond 32 bits is as far out of every region as the last word.
    return UInt32(exactly: value) ?? .max - 3
  }

  private static func digit(_ byte: UInt8) -> UInt64 {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
    default: .max
    }
  }

  /// The length of one offset's line, `0x%08x\n`.
  static let lineLength = 11

  /// The lines for offsets that were read.
  static func lines(_ offsets: [UInt32]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(offsets.count * lineLength)
    for offset in offsets {
      bytes.append(UInt8(ascii: "0"))
      bytes.append(UInt8(ascii: "x"))
      for shift in stride(from: 28, through: 0, by: -4) {
        let digit = UInt8(truncatingIfNeeded: offset >> UInt32(shift)) & 15
        bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
      }
      bytes.append(UInt8(ascii: "\n"))
    }
    return bytes
  }
}
