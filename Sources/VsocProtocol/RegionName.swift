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
}
