// SPDX-License-Identifier: Apache-2.0

/// Open files by the number that the kernel uses for them. Numbers are not used twice.
struct HandleTable {
  private var files: [UInt64: OpenFile] = [:]
  private var last: UInt64 = 0

  subscript(number: UInt64) -> OpenFile? { files[number] }

  mutating func add(_ file: OpenFile) -> UInt64 {
    last += 1
    files[last] = file
    return last
  }

  mutating func remove(_ number: UInt64) -> OpenFile? {
    files.removeValue(forKey: number)
  }

  /// Gives all of them, and has none afterwards.
  mutating func takeAll() -> [OpenFile] {
    defer { files.removeAll() }
    return Array(files.values)
  }

  var count: Int { files.count }
}
