// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage
internal import VsocEngine

/// What is written to a `permissions` file: one command.
enum PermissionText: Hashable {
  case claim(Permission)
  case release

  /// - Throws: EINVAL for anything else.
  init(_ text: UnsafeRawBufferPointer) throws(Errno) {
    var index = 0
    func skipSpace() {
      while index < text.count, unsafe TextNumber.isSpace(text[index]) { index += 1 }
    }
    func isEnd() -> Bool {
      skipSpace()
      return index == text.count
    }
    skipSpace()
    let start = index
    while index < text.count, unsafe !TextNumber.isSpace(text[index]) { index += 1 }
    switch unsafe String(decoding: text[start..<index], as: UTF8.self) {
    case "claim":
      var numbers: [UInt32] = []
      for _ in 0..<3 {
        skipSpace()
        numbers.append(unsafe try TextNumber.offset(text, &index))
      }
      skipSpace()
      // Not a place that could be refused for being out of range.
      guard let value = UInt32(exactly: unsafe try TextNumber.parse(text, &index)), isEnd() else {
        throw .invalidArgument
      }
      self = .claim(
        Permission(
          beginOffset: numbers[0], endOffset: numbers[1], ownerOffset: numbers[2],
          ownedValue: value))
    case "release" where isEnd():
      self = .release
    default:
      throw .invalidArgument
    }
  }

  /// The table as it is read: a line for each live permission, the reader's own marked.
  static func table(_ permissions: [LivePermission]) -> [UInt8] {
    var bytes: [UInt8] = []
    for live in permissions {
      if live.isOwn { bytes.append(UInt8(ascii: "*")) }
      let permission = live.permission
      for number in [
        permission.beginOffset, permission.endOffset, permission.ownerOffset,
        permission.ownedValue,
      ] {
        TextNumber.append(number, to: &bytes)
        bytes.append(UInt8(ascii: " "))
      }
      bytes += "\(live.claimant.process) \(live.claimant.name)\n".utf8
    }
    return bytes
  }
}
