// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// Numbers of 32 bits in what is read from and written to the text files.
enum TextNumber {
  static func isSpace(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: " ") || (9...13).contains(byte)
  }

  /// The number, decimal or 0x hex, that begins at `index`, up to a white space or the end. One that
  /// has more than 32 bits is `1 << 32`.
  ///
  /// - Throws: EINVAL for what is no number.
  static func parse(
    _ text: UnsafeRawBufferPointer, _ index: inout Int
  ) throws(Errno) -> UInt64 {
    var base: UInt64 = 10
    if index + 1 < text.count, unsafe text[index] == UInt8(ascii: "0"),
      unsafe text[index + 1] | 0x20 == UInt8(ascii: "x")
    {
      base = 16
      index += 2
    }
    var value: UInt64 = 0
    let (start, end) = (index, text.count)
    var at = start
    while at < end {
      let byte = unsafe text[at]
      if isSpace(byte) { break }
      let digit = digit(byte)
      guard digit < base else { throw .invalidArgument }
      // Stays too large, however many digits follow.
      value = min(value * base + digit, UInt64(UInt32.max) + 1)
      at += 1
    }
    guard at > start else { throw .invalidArgument }
    index = at
    return value
  }

  /// The same for an offset: beyond 32 bits is as far out of every region as the last word.
  static func offset(
    _ text: UnsafeRawBufferPointer, _ index: inout Int
  ) throws(Errno) -> UInt32 {
    UInt32(exactly: unsafe try parse(text, &index)) ?? .max - 3
  }

  @inline(__always) private static func digit(_ byte: UInt8) -> UInt64 {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
    default: .max
    }
  }

  /// Appends `0x%08x`.
  static func append(_ number: UInt32, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "0"))
    bytes.append(UInt8(ascii: "x"))
    for shift in stride(from: 28, through: 0, by: -4) {
      let digit = UInt8(truncatingIfNeeded: number >> UInt32(shift)) & 15
      bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
    }
  }
}
