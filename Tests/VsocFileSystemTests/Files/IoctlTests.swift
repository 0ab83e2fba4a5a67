// SPDX-License-Identifier: Apache-2.0

import CVsocABI
import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// The ioctls that do not wait.
@Suite struct IoctlTests {
  private func withEnds(
    slotsLg2: UInt32 = 6, _ body: (ServedTree, FuseHandle, FuseHandle) throws -> Void
  ) throws {
    try withTree([region("r", slotsLg2: slotsLg2)]) { tree in
      let (guest, host) = try (
        tree.wire.open(path: "r/data"), tree.wire.open(path: "r/peer/data")
      )
      try body(tree, guest, host)
      try tree.wire.release(guest)
      try tree.wire.release(host)
    }
  }

  @Test func `Interrupts: one in flight, by force, to oneself`() throws {
    try withEnds { tree, guest, host in
      let wire = tree.wire
      for (sender, receiver) in [(guest, host), (host, guest)] {
        try wire.ioctl(sender, Ioctl.maybeSendInterrupt)
        #expect(throws: Errno.resourceBusy) { try wire.ioctl(sender, Ioctl.maybeSendInterrupt) }
        // It is there, and looking does not take it away.
        for _ in 0..<2 { try wire.ioctl(receiver, Ioctl.waitForInterrupt) }
        #expect(try tree.drain(receiver) == Drained(offsets: [0]))
        #expect(try tree.drain(receiver) == Drained(offsets: []))
        try wire.ioctl(sender, Ioctl.maybeSendInterrupt)
        _ = try tree.drain(receiver)

        try wire.ioctl(sender, Ioctl.sendInterrupt)
        try wire.ioctl(sender, Ioctl.sendInterrupt)
        #expect(try tree.drain(receiver) == Drained(offsets: [0]))

        try wire.ioctl(receiver, Ioctl.selfInterrupt)
        try wire.ioctl(receiver, Ioctl.waitForInterrupt)
        #expect(try tree.drain(receiver) == Drained(offsets: [0]))
      }
    }
  }

  @Test func `The region's descriptor and information`() throws {
    let regions = try [
      region("m"), region("managed_15bytes"), region("r", size: 1 << 16, slotsLg2: 2),
    ]
    try withTree(regions) { tree in
      let wire = tree.wire
      let geometry = regions[2].geometry
      for (path, end) in [("r/data", 0), ("r/peer/data", 1)] as [(String, UInt32)] {
        let data = try wire.open(path: path)
        let info = try wire.ioctl(data, Ioctl.regionInfo)
        let words = [
          geometry.size, geometry.dataOffset, geometry.shmSignalOffset, 3, end, 0, 0, 0,
        ]
        #expect(info.data == words.flatMap { unsafe withUnsafeBytes(of: $0) { unsafe Array($0) } })
        let descriptor = try wire.ioctl(data, Ioctl.describeRegion).data
        #expect(descriptor.count == 60)
        #expect(
          Array(descriptor[40..<60]) == [UInt8(ascii: "r")] + [UInt8](repeating: 0, count: 19))
        #expect(try wire.ioctl(data, Ioctl.regionInfo, is32Bit: true).data == info.data)
        #expect(try wire.ioctl(data, Ioctl.describeRegion, is32Bit: true).data == descriptor)
        try wire.release(data)
      }
    }
  }

  @Test func `A posted offset is drained once by each handle that drains`() throws {
    try withEnds { tree, guest, host in
      let other = try tree.wire.open(path: "r/peer/data")
      // A handle sees what comes from its first drain on.
      for handle in [host, other] { #expect(try tree.drain(handle).offsets == []) }
      for offset: UInt64 in [0x2000, 0x2004, 0x2000] {
        try tree.wire.ioctl(guest, Ioctl.post, argument: offset, is32Bit: true)
      }
      for handle in [host, other] {
        #expect(try Set(tree.drain(handle).offsets) == [0x2000, 0x2004])
        #expect(try tree.drain(handle).offsets == [])
      }
      try tree.wire.release(other)
    }
  }

  @Test func `A drain brings 62 offsets and says whether there are more`() throws {
    try withEnds { tree, guest, host in
      _ = try tree.drain(host)
      let offsets = (0..<64).map { 0x2000 + 4 * UInt32($0) }
      for offset in offsets { try tree.wire.ioctl(guest, Ioctl.post, argument: UInt64(offset)) }
      let first = try tree.drain(host)
      #expect(first.offsets.count == 62 && first.hasMore)
      let rest = try tree.drain(host)
      #expect(rest.offsets.count == 2 && !rest.hasMore)
      #expect(Set(first.offsets + rest.offsets) == Set(offsets))
    }
  }

  @Test func `A full table is EAGAIN until it is drained`() throws {
    try withEnds(slotsLg2: 1) { tree, guest, host in
      _ = try tree.drain(host)
      for offset in [0x2000, 0x2004] as [UInt64] {
        try tree.wire.ioctl(guest, Ioctl.post, argument: offset)
      }
      #expect(throws: Errno.resourceTemporarilyUnavailable) {
        try tree.wire.ioctl(guest, Ioctl.post, argument: 0x2008)
      }
      // One that is there already needs no room.
      try tree.wire.ioctl(guest, Ioctl.post, argument: 0x2000)
      #expect(try Set(tree.drain(host).offsets) == [0x2000, 0x2004])
      try tree.wire.ioctl(guest, Ioctl.post, argument: 0x2008)
    }
  }

  @Test(
    arguments: [
      (0, .addressNotAvailable), (1, .addressNotAvailable), (0x2002, .addressNotAvailable),
      (0x10_0000, .argListTooLong), (0xffff_fffc, .argListTooLong),
      (0x1_0000_0000, .argListTooLong), (0x1_0000_2000, .argListTooLong),
      (0x1_0000_2002, .addressNotAvailable), (.max - 3, .argListTooLong),
    ] as [(UInt64, Errno)])
  func `Offsets that are no words of the region are refused`(
    offset: UInt64, error: Errno
  ) throws {
    try withEnds { tree, guest, host in
      #expect(throws: error) { try tree.wire.ioctl(guest, Ioctl.post, argument: offset) }
      // Any word can be slept on, the first one too.
      if offset != 0 {
        #expect(throws: error) { try tree.wire.ioctl(guest, Ioctl.condWake, argument: offset) }
      }
      let (posted, drained) = try (tree.values(of: "r/info")["outgoing_posted"], tree.drain(host))
      #expect(posted == "0")
      #expect(drained == Drained(offsets: []))
    }
  }

  @Test func `The last word of a region is one`() throws {
    try withEnds { tree, guest, host in
      _ = try tree.drain(host)
      try tree.wire.ioctl(guest, Ioctl.post, argument: 0xf_fffc)
      try tree.wire.ioctl(guest, Ioctl.condWake, argument: 0xf_fffc)
      try tree.wire.ioctl(guest, Ioctl.condWake, argument: 0)
      #expect(try tree.drain(host).offsets == [0xf_fffc])
    }
  }

  @Test func `Signals can be injected and masked by ioctl`() throws {
    try withEnds { tree, guest, host in
      let wire = tree.wire
      let signal = try wire.open(path: "r/peer/signal", flags: O_RDWR | O_NONBLOCK)
      try wire.ioctl(host, Ioctl.disable)
      try wire.ioctl(guest, Ioctl.inject)
      #expect(throws: Errno.resourceTemporarilyUnavailable) { try wire.read(signal) }
      try wire.ioctl(host, Ioctl.enable)
      #expect(try wire.readText(signal) == "1\n")
      try wire.release(signal)
    }
  }

  @Test func `Any other number is ENOTTY`() throws {
    try withEnds { tree, guest, _ in
      var numbers: [UInt32] = [0, 1, 0x5401, 0x541b, 0x8004_5430, .max]
      numbers += [9, 0x3f, 0x48, 0xff].map { Ioctl.number($0) }
      // The right number with a size or a direction that is not its own.
      for number in Ioctl.all { numbers += [number ^ 1 << 30, number ^ 1 << 31, number ^ 4 << 16] }
      for number in numbers {
        for is32Bit in [false, true] {
          #expect(throws: Errno.inappropriateIOCTLForDevice, "\(String(number, radix: 16))") {
            try tree.wire.ioctl(guest, number, is32Bit: is32Bit)
          }
        }
      }
    }
  }

  @Test(arguments: ["r/signal", "r/peer/doorbell", "r/info", ".vsocfs/stats"])
  func `Other files have no ioctls`(path: String) throws {
    try withTree { tree in
      let handle = try tree.wire.open(path: path, flags: O_RDONLY)
      for number in Ioctl.all + [0x5401] {
        #expect(throws: Errno.inappropriateIOCTLForDevice) { try tree.wire.ioctl(handle, number) }
      }
      try tree.wire.release(handle)
    }
  }

  @Test func `Directories have no ioctls`() throws {
    try withTree { tree in
      let directory = try tree.wire.openDirectory()
      for flags: UInt32 in [0, 1 << 4] {
        var body = WireWriter()
        body.append64(directory.opened.handle)
        body.append(flags, Ioctl.sendInterrupt, 0, 0, 0, 0)
        let ticket = try tree.wire.send(.ioctl, node: 1, body: body.bytes)
        #expect(throws: Errno.inappropriateIOCTLForDevice) { try tree.wire.reply(to: ticket) }
      }
      try tree.wire.releaseDirectory(directory)
    }
  }
}

extension Drained {
  init(offsets: [UInt32]) {
    self.offsets = offsets
    hasMore = false
  }
}
