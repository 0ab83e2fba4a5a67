// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import Testing

/// Parts of a file that are copied into another one.
@Suite struct CopyTests {
  /// More than fits a pipe, through which the kernel copies.
  private let size = 300_000

  private func makeFile(_ bytes: [UInt8]) throws -> Descriptor {
    let file = try SharedMemoryFile(name: "copy", size: bytes.count).takeDescriptor()
    try file.write(bytes, at: 0)
    return file
  }

  @Test func `A range comes to the place that is named, and nothing else changes`() throws {
    let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 / 251 &+ $0) }
    let from = try makeFile(bytes)
    let to = try makeFile([UInt8](repeating: 7, count: size))
    for (range, offset) in [(10_000..<290_001, 4097), (0..<1, 0), (5..<5, 9)] {
      try from.copy(UInt64(range.lowerBound)..<UInt64(range.upperBound), to: to, at: UInt64(offset))
    }
    var expected = [UInt8](repeating: 7, count: size)
    expected.replaceSubrange(4097..<4097 + 280_001, with: bytes[10_000..<290_001])
    expected[0] = bytes[0]
    #expect(try to.read(size + 1, at: 0) == expected)
    #expect(try from.read(size + 1, at: 0) == bytes)
  }

  @Test func `What is not there cannot be copied`() throws {
    let from = try makeFile([1, 2, 3])
    let to = try makeFile([])
    #expect(throws: Errno.ioError) { try from.copy(1..<4, to: to, at: 0) }
    #expect(try to.read(4, at: 0) == [2, 3])
  }

  @Test func `A file of fixed size does not grow`() throws {
    let from = try makeFile([1, 2, 3])
    let to = try makeFile([0, 0])
    try SharedMemoryFile.sealSize(of: to.raw)
    #expect(throws: Errno.notPermitted) { try from.copy(0..<3, to: to, at: 2) }
  }
}
