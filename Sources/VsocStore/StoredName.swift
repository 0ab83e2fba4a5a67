// SPDX-License-Identifier: Apache-2.0

internal import VsocProtocol

/// The name of a file that belongs to a region, in the store's directory of regions.
///
/// The region's name is in it with everything but `a-z 0-9 _ . -` as `%XX`: capitals as well, so
/// that no two regions share a file where names of files have no case.
struct StoredName: Hashable {
  enum Kind: String, CaseIterable {
    /// The region's memory.
    case region
    /// A region's memory that is being made.
    case new
    /// An empty file: the region is destroyed, whatever else there is of it.
    case gone
  }

  var region: RegionName
  var kind: Kind

  init(_ region: RegionName, _ kind: Kind) {
    self.region = region
    self.kind = kind
  }

  /// Nil for a file that is none of ours: a region's file has exactly one name.
  init?(file: String) {
    for kind in Kind.allCases where file.hasSuffix(".\(kind)") {
      guard let region = RegionName(encoded: file.dropLast(kind.rawValue.count + 1)) else { break }
      self.init(region, kind)
      if file == self.file { return }
    }
    return nil
  }

  var file: String { "\(region.encoded).\(kind)" }
}

extension RegionName {
  private static let plain = Set("abcdefghijklmnopqrstuvwxyz0123456789_.-".utf8)

  /// The name as a part of a file's name, or as a word of a line.
  var encoded: String {
    var result = ""
    for byte in description.utf8 {
      if Self.plain.contains(byte) {
        result.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        let digits = String(byte, radix: 16, uppercase: true)
        result += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
      }
    }
    return result
  }

  init?(encoded text: some StringProtocol) {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let decoded = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
        return nil
      }
      bytes.append(decoded)
      rest = rest.dropFirst(2)
    }
    guard let name = String(validating: bytes, as: UTF8.self) else { return nil }
    self.init(name)
  }
}
