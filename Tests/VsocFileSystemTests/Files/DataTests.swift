// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// `data` without passthrough: reads and writes that come to the daemon.
@Suite struct DataTests {
  @Test func `Both ends and a mapping see one memory`() throws {
    try withTree { tree in
      let wire = tree.wire
      let (guest, host) = try (wire.open(path: "r/data"), wire.open(path: "r/peer/data"))
      let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
      #expect(try wire.write(guest, bytes, offset: 0x2001) == bytes.count)
      #expect(try wire.read(host, size: bytes.count, offset: 0x2001) == bytes)
      let word = try tree.window().word(at: 0x8000)
      word.store(0x0403_0201)
      #expect(try wire.read(host, size: 4, offset: 0x8000) == [1, 2, 3, 4])
      try wire.write(host, [9], offset: 0x8003)
      #expect(word.load() == 0x0903_0201)
      try wire.release(guest)
      try wire.release(host)
    }
  }

  @Test func `The header describes the region`() throws {
    try withTree { tree in
      let data = try tree.wire.open(path: "r/data", flags: O_RDONLY)
      let header = try tree.wire.read(data, size: 76)
      #expect(Array(header[..<16]) == [2, 0, 0, 0, 0, 0, 16, 0, 1, 0, 0, 0, 16, 0, 0, 0])
      // ioctl 4 tells the same of the region.
      let described = try tree.wire.ioctl(data, Ioctl.describeRegion)
      #expect(described.data == Array(header[16...]))
      try tree.wire.release(data)
    }
  }

  @Test func `A read goes to the end and no further`() throws {
    try withTree { tree in
      let data = try tree.wire.open(path: "r/data")
      let size: UInt64 = 1 << 20
      #expect(try tree.wire.read(data, size: 4096, offset: size - 10).count == 10)
      #expect(try tree.wire.read(data, size: 4096, offset: size).isEmpty)
      #expect(try tree.wire.read(data, size: 4096, offset: size + 1).isEmpty)
      #expect(try tree.wire.read(data, size: 1 << 20).count == 1 << 20)
      #expect(try tree.wire.read(data, size: Int(UInt32.max)).count == 1 << 20)
      try tree.wire.release(data)
    }
  }

  @Test(
    arguments: [(1 << 20, 1), ((1 << 20) - 1, 2), ((1 << 20) - 4095, 4096), (1 << 40, 1)]
      as [(UInt64, Int)])
  func `A write past the end fails as a whole`(offset: UInt64, count: Int) throws {
    try withTree { tree in
      let data = try tree.wire.open(path: "r/data")
      let bytes = [UInt8](repeating: 0xaa, count: count)
      #expect(throws: Errno.notPermitted) { try tree.wire.write(data, bytes, offset: offset) }
      let end = UInt64(1 << 20)
      #expect(try tree.wire.read(data, size: 4096, offset: end - 4096).allSatisfy { $0 == 0 })
      #expect(try tree.wire.write(data, bytes, offset: end - UInt64(count)) == count)
      #expect(try tree.wire.attributes(of: data.node).size == end)
      try tree.wire.release(data)
    }
  }

  @Test func `A region whose header was overwritten is the same region`() throws {
    try withTree { tree in
      let wire = tree.wire
      let data = try wire.open(path: "r/data")
      try wire.write(data, [UInt8](repeating: 0xff, count: 4096))
      #expect(try tree.values(of: "r/info")["data_offset"] == "8192")
      let description = try wire.ioctl(data, Ioctl.describeRegion).data
      #expect(Array(description[..<16]) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 32, 0, 0])
      try wire.ioctl(data, Ioctl.post, argument: 0x2000)
      let host = try wire.open(path: "r/peer/data")
      #expect(try tree.drain(host).offsets == [0x2000])
      try wire.release(host)
      try wire.release(data)
    }
  }
}
