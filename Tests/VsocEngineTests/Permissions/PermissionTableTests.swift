// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import TestSupport
import Testing
import VsocProtocol

@testable import VsocEngine

/// Which areas are taken.
@Suite struct PermissionTableTests {
  private let fixture: Fixture
  private let file: RegionFile

  init() throws {
    fixture = try Fixture()
    file = try MemoryFiles().makeArea(isBacking: true)
  }

  private func permission(_ pages: Range<UInt32>) -> Permission {
    Permission(
      beginOffset: pages.lowerBound * 4096, endOffset: pages.upperBound * 4096,
      ownerOffset: 0x2000, ownedValue: 1)
  }

  private func holding(_ pages: Range<UInt32>) -> Holding {
    Holding(
      permission(pages), Claimant(process: 1, name: "x"), manager: fixture.region, file: file,
      slot: nil)
  }

  @Test func `Neighbours are free, everything that overlaps is not`() {
    var table = PermissionTable()
    let first = holding(10..<20)
    table.insert(first)
    table.insert(holding(30..<31))
    for free in [0..<10, 20..<30, 31..<40, 9..<10, 20..<21, 29..<30] as [Range<UInt32>] {
      #expect(table.isFree(permission(free)), "\(free)")
    }
    for taken in [0..<11, 10..<20, 12..<13, 19..<20, 19..<25, 0..<100, 25..<31, 30..<31, 29..<40]
      as [Range<UInt32>]
    {
      #expect(!table.isFree(permission(taken)), "\(taken)")
    }
    table.remove(first)
    #expect(table.isFree(permission(0..<30)))
    #expect(!table.isFree(permission(0..<31)))
  }

  /// Against a plain search.
  @Test func `Any order of claims and releases`() {
    var random = SplitMix(state: 4)
    var table = PermissionTable()
    var live: [Holding] = []
    for _ in 0..<5000 {
      if !live.isEmpty, Int.random(in: 0..<3, using: &random) == 0 {
        let index = Int.random(in: live.indices, using: &random)
        table.remove(live.remove(at: index))
        continue
      }
      let begin = UInt32.random(in: 0..<200, using: &random)
      let pages = begin..<begin + UInt32.random(in: 1..<8, using: &random)
      let new = holding(pages)
      let isFree = live.allSatisfy { other in
        other.permission.endOffset <= new.permission.beginOffset
          || new.permission.endOffset <= other.permission.beginOffset
      }
      #expect(table.isFree(new.permission) == isFree)
      if isFree {
        table.insert(new)
        live.append(new)
      }
    }
    #expect(
      table.holdings.map(\.permission.beginOffset) == live.map(\.permission.beginOffset).sorted())
  }

  @Test func `What lingers is known`() {
    var table = PermissionTable()
    let (one, other) = (holding(1..<2), holding(2..<3))
    table.insert(one)
    table.insert(other)
    #expect(table.lingering.isEmpty)
    table.linger(other)
    #expect(table.lingering.map { $0 === other } == [true])
    table.remove(other)
    #expect(table.lingering.isEmpty && table.holdings.count == 1)
  }
}
