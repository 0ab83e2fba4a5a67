// SPDX-License-Identifier: Apache-2.0

internal import VsocProtocol

/// Values that both the layout file and the mount options have.
enum Value {
  /// A size in bytes that a region can have.
  static func regionSize(_ bytes: UInt64) throws(ValueProblem) -> UInt64 {
    do throws(GeometryError) {
      _ = try RegionGeometry(size: bytes, guestToHostNodesLg2: 0, hostToGuestNodesLg2: 0)
      return bytes
    } catch {
      throw ValueProblem(error, size: bytes)
    }
  }

  static func size(_ text: String) throws(ValueProblem) -> UInt64 {
    guard let size = ByteSize(text) else {
      throw ValueProblem("\(quoted(text)) is not a size (bytes, or a number with K, M or G)")
    }
    return size.bytes
  }

  /// How many there may be of something.
  static func count(_ text: String) throws(ValueProblem) -> Int {
    guard let count = UInt64(decimalDigits: text[...]), count > 0, count <= UInt64(UInt32.max)
    else {
      throw ValueProblem("\(quoted(text)) is not a number from 1 to \(UInt32.max)")
    }
    return Int(count)
  }

  /// The mode of files: read and write bits in octal.
  static func mode(_ text: String) throws(ValueProblem) -> UInt32 {
    guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }),
      let mode = UInt32(text, radix: 8)
    else { throw ValueProblem("\(quoted(text)) is not an octal mode such as \"0660\"") }
    guard mode & ~0o666 == 0 else {
      throw ValueProblem("\(quoted(text)) has more than read and write bits (at most 0666)")
    }
    return mode
  }

  /// A user's or a group's number; the last one means "unchanged" to chown(2) and is nobody's.
  static func owner(_ number: UInt64?, text: String) throws(ValueProblem) -> UInt32 {
    guard let number, number < UInt64(UInt32.max) else {
      throw ValueProblem("\(text) is not a number from 0 to \(UInt32.max - 1)")
    }
    return UInt32(number)
  }
}

extension ValueProblem {
  init(_ error: GeometryError, size: UInt64) {
    let text =
      switch error {
      case .sizeNotWholePages: "are not whole pages (of \(RegionGeometry.pageSize) bytes)"
      case .sizeTooLarge: "are more than the \(RegionGeometry.maximumSize) that a region can have"
      case .tablesDoNotFit: "have no room for the signal tables and a page of data"
      }
    self.init("\(size) bytes \(text)")
  }
}
