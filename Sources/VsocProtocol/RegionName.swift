// SPDX-License-Identifier: Apache-2.0

/// A region's name: 1 to 15 bytes of UTF-8, no `/`, no NUL, not starting with a dot (SPEC §2).
public struct RegionName: Hashable, Sendable, CustomStringConvertible {
  public static let maximumLength = 15

  public let description: String

  /// Nil where the text is no name of a region.
  public init?(_ text: String) {
    let bytes = text.utf8
    guard (1...Self.maximumLength).contains(bytes.count), bytes.first != UInt8(ascii: "."),
      !bytes.contains(UInt8(ascii: "/")), !bytes.contains(0)
    else { return nil }
    description = text
  }

  // Names of files are bytes: a String also equals what is only canonically equivalent to it.
  public static func == (left: Self, right: Self) -> Bool {
    left.description.utf8.elementsEqual(right.description.utf8)
  }

  public func hash(into hasher: inout Hasher) {
    for byte in description.utf8 { hasher.combine(byte) }
    hasher.combine(0xff as UInt8)
  }
}
