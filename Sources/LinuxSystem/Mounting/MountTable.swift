// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// The mounts that this process sees, as /proc/self/mountinfo tells them (proc(5)).
package struct MountTable: Hashable, Sendable {
  package struct Entry: Hashable, Sendable {
    /// Unique among the mounts that exist; `mnt_id` in /proc/PID/fdinfo.
    package var id: Int
    package var mountPoint: String
    /// With the subtype after a dot.
    package var fileSystemType: String
    package var source: String
  }

  /// In the order in which they were mounted.
  package var entries: [Entry]

  /// Reads the text of a mountinfo file. Lines that are none are passed over.
  package init(parsing text: String) {
    entries = text.split(separator: "\n").compactMap { line in
      // 36 35 98:0 /root /mount\040point rw,noatime master:1 - type source rw,errors=continue
      // with any number of fields before the dash.
      let fields = line.split(separator: " ")
      guard fields.count >= 10, let id = Int(fields[0]),
        let dash = fields[6...].firstIndex(of: "-"), fields.count > dash + 2
      else { return nil }
      return Entry(
        id: id, mountPoint: Self.unescaped(fields[4]),
        fileSystemType: Self.unescaped(fields[dash + 1]),
        source: Self.unescaped(fields[dash + 2]))
    }
  }

  /// Space, tab, line feed, backslash and `#` stand there as three octal digits.
  private static func unescaped(_ field: Substring) -> String {
    let bytes = Array(field.utf8)
    var result: [UInt8] = []
    var index = 0
    while index < bytes.count {
      if bytes[index] == UInt8(ascii: "\\"), index + 3 < bytes.count,
        let byte = UInt8(String(decoding: bytes[index + 1...index + 3], as: UTF8.self), radix: 8)
      {
        result.append(byte)
        index += 4
      } else {
        result.append(bytes[index])
        index += 1
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}
