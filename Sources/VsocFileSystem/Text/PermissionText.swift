// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage
internal import VsocEngine

/// What is written to a `permissions` file: one command.
///
/// It is for the file itself, or for the one that a descriptor of the writer is open for.
struct PermissionText: Hashable {
  enum Command: Hashable {
    case claim(Permission)
    case release
  }

  let command: Command
  let descriptor: Int32?

  /// - Throws: EINVAL for anything else.
  init(_ text: UnsafeRawBufferPointer) throws(Errno) {
    var words = unsafe Words(text)
    switch words.next() {
    case "claim":
      let (begin, end) = (try words.offset(), try words.offset())
      let owner = try words.offset()
      // Not a place that could be refused for being out of range.
      guard let value = UInt32(exactly: try words.number()) else {
        throw .invalidArgument
      }
      command = .claim(
        Permission(beginOffset: begin, endOffset: end, ownerOffset: owner, ownedValue: value))
    case "release":
      command = .release
    default:
      throw .invalidArgument
    }
    // A number that is none of a descriptor is that of none.
    descriptor = words.isAtEnd ? nil : Int32(clamping: try words.number())
    guard words.isAtEnd else { throw .invalidArgument }
  }

  /// Takes a text apart at its white space.
  @safe
  private struct Words {
    private let text: UnsafeRawBufferPointer
    private var index = 0

    init(_ text: UnsafeRawBufferPointer) {
      unsafe self.text = text
    }

    private mutating func skipSpace() {
      while unsafe index < text.count, unsafe TextNumber.isSpace(text[index]) { index += 1 }
    }

    var isAtEnd: Bool {
      mutating get {
        skipSpace()
        return unsafe index == text.count
      }
    }

    mutating func next() -> String {
      skipSpace()
      let start = index
      while unsafe index < text.count, unsafe !TextNumber.isSpace(text[index]) { index += 1 }
      return unsafe String(decoding: text[start..<index], as: UTF8.self)
    }

    mutating func number() throws(Errno) -> UInt64 {
      skipSpace()
      return unsafe try TextNumber.parse(text, &index)
    }

    mutating func offset() throws(Errno) -> UInt32 {
      skipSpace()
      return unsafe try TextNumber.offset(text, &index)
    }
  }

  /// A line has four numbers of 0x%08x, at least a digit of a process id, and what is between and behind.
  static let shortestLine = 4 * 11 + 3

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
