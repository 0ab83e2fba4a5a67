// SPDX-License-Identifier: Apache-2.0

/// A number of bytes as people write it: `4096`, `64K`, `16M`, `1G` (KiB, MiB, GiB; either case).
package struct ByteSize: Hashable, Sendable, CustomStringConvertible {
  package var bytes: UInt64

  package init(_ bytes: UInt64) {
    self.bytes = bytes
  }

  /// Nil where the text is no size, or a size beyond 64 bits.
  package init?(_ text: String) {
    let shift: UInt64
    switch text.utf8.last {
    case UInt8(ascii: "K"), UInt8(ascii: "k"): shift = 10
    case UInt8(ascii: "M"), UInt8(ascii: "m"): shift = 20
    case UInt8(ascii: "G"), UInt8(ascii: "g"): shift = 30
    default: shift = 0
    }
    let digits = shift == 0 ? text[...] : text.dropLast()
    guard let count = UInt64(decimalDigits: digits) else { return nil }
    let (bytes, overflow) = count.multipliedReportingOverflow(by: 1 << shift)
    guard !overflow else { return nil }
    self.bytes = bytes
  }

  /// The shortest text that means exactly this size.
  package var description: String {
    for (shift, suffix) in [(30, "G"), (20, "M"), (10, "K")]
    where bytes != 0 && bytes.trailingZeroBitCount >= shift {
      return "\(bytes >> UInt64(shift))\(suffix)"
    }
    return "\(bytes)"
  }
}

extension UInt64 {
  /// Digits only: the standard library's initializer takes a sign as well.
  init?(decimalDigits text: Substring) {
    guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
      return nil
    }
    self.init(text)
  }
}
