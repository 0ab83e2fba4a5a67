// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem

/// What a file that is open for reading only may do.
@Suite struct ReadOnlyTests {
  @Test(arguments: ["r/data", "r/peer/data", "m/data"])
  func `What others see is changed by a file open for writing only`(path: String) throws {
    try withTree([region("r"), region("m", managedBy: "r")]) { tree in
      let wire = tree.wire
      let reader = try wire.open(path: path, flags: O_RDONLY)
      for number in [
        Ioctl.maybeSendInterrupt, Ioctl.sendInterrupt, Ioctl.selfInterrupt, Ioctl.post,
        Ioctl.drain, Ioctl.inject, Ioctl.enable, Ioctl.disable,
      ] {
        #expect(throws: Errno.badFileDescriptor) {
          try wire.ioctl(reader, number, argument: 0x2000)
        }
      }
      #expect(try wire.ioctl(reader, Ioctl.describeRegion).result == 0)
      #expect(try wire.ioctl(reader, Ioctl.regionInfo).result == 0)
      if !path.hasPrefix("m") {
        #expect(try wire.ioctl(reader, Ioctl.condWake, argument: 0x2000).result == 0)
        let argument = CondWaitArgument(value: 1)
        #expect(
          try wire.ioctl(reader, Ioctl.condWait, input: argument.bytes).succeeded(argument))
      }
      let wait = try wire.beginIoctl(reader, Ioctl.waitForInterrupt)
      try tree.waitForParked(1)
      let writer = try wire.open(path: path)
      try wire.ioctl(writer, Ioctl.selfInterrupt)
      #expect(try wire.ioctlReply(to: wait).result == 0)
      for file in [reader, writer] { try wire.release(file) }
    }
  }
}
