// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import Testing
import VsocProtocol

@testable import VsocEngine

/// What can be claimed at all (SPEC §7), and in which order it is refused.
@Suite struct PermissionRuleTests {
  private let managed: RegionGeometry
  private let manager: RegionGeometry

  init() throws {
    managed = try RegionGeometry(size: 1 << 20)
    manager = try RegionGeometry(size: 64 << 10)
  }

  private func error(
    _ begin: UInt32, _ end: UInt32, _ owner: UInt32 = 0x2000, _ value: UInt32 = 1
  ) -> Errno? {
    do throws(Errno) {
      try Permission(
        beginOffset: begin, endOffset: end, ownerOffset: owner, ownedValue: value
      ).check(in: managed, by: manager)
      return nil
    } catch {
      return error
    }
  }

  @Test func `What is inside is fine`() {
    #expect(managed.dataOffset == 0x2000 && manager.dataOffset == 0x2000)
    #expect(error(0x2000, 0x3000) == nil)
    #expect(error(0x2000, 0x10_0000) == nil)
    #expect(error(0xf_f000, 0x10_0000, 0xfffc, .max) == nil)
  }

  @Test func `Each rule has its error`() {
    #expect(error(0x3000, 0x3000) == .invalidArgument)
    #expect(error(0x4000, 0x3000) == .invalidArgument)
    #expect(error(0xf_f000, 0x10_1000) == .outOfRange)
    #expect(error(0x2000, .max) == .outOfRange)
    #expect(error(0x1000, 0x3000) == .outOfRange)
    #expect(error(0x1fff, 0x3000) == .outOfRange)
    #expect(error(0x2001, 0x3000) == .invalidArgument)
    #expect(error(0x2000, 0x2fff) == .invalidArgument)
    for offset in [0x2001, 0x2002, 0x2003] as [UInt32] {
      #expect(error(0x2000, 0x3000, offset) == .invalidArgument)
    }
    for offset in [0, 0x1ffc, 0x1_0000, .max - 3] as [UInt32] {
      #expect(error(0x2000, 0x3000, offset) == .outOfRange)
    }
    #expect(error(0x2000, 0x3000, 0x2000, 0) == .invalidArgument)
  }

  @Test func `The first rule that is broken counts`() {
    // Begin behind end, before everything else.
    #expect(error(0x20_0001, 0x20_0000, 3, 0) == .invalidArgument)
    // Out of the region, before pages.
    #expect(error(0x2001, 0x20_0001, 3, 0) == .outOfRange)
    #expect(error(0x1001, 0x3001, 3, 0) == .outOfRange)
    // Pages before the owner's offset, its alignment before its range, that before the value.
    #expect(error(0x2001, 0x3000, 0x1_0000, 0) == .invalidArgument)
    #expect(error(0x2000, 0x3000, 0x1_0001, 0) == .invalidArgument)
    #expect(error(0x2000, 0x3000, 0x1_0000, 0) == .outOfRange)
  }
}
