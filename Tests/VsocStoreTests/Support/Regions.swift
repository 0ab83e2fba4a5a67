// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import SystemPackage
import VsocConfiguration
import VsocEngine
import VsocProtocol

@testable import VsocStore

/// A region as a layout would define it.
func region(
  _ name: String, size: UInt64 = 12288, managedBy: String? = nil, nodesLg2: UInt32 = 6,
  version: UInt16 = 0, mode: UInt32 = 0o660
) -> RegionConfiguration {
  let access = EndAccess(uid: 1, gid: 2, mode: mode)
  var region = RegionConfiguration(
    name: RegionName(name)!,
    geometry: try! RegionGeometry(
      size: size, guestToHostNodesLg2: nodesLg2, hostToGuestNodesLg2: nodesLg2),
    guest: access, host: access)
  region.managedBy = managedBy.flatMap { RegionName($0) }
  region.currentVersion = version
  return region
}

/// A permission as the engine writes it down.
func record(
  _ region: String = "x", _ area: Range<UInt32> = 8192..<12288, manager: String = "m",
  word ownerOffset: UInt32, _ ownedValue: UInt32, area number: UInt64 = 1
) -> PermissionRecord {
  PermissionRecord(
    region: RegionName(region)!, manager: RegionName(manager)!,
    permission: Permission(
      beginOffset: area.lowerBound, endOffset: area.upperBound, ownerOffset: ownerOffset,
      ownedValue: ownedValue),
    area: number)
}

extension Store {
  /// Makes regions as the engine does.
  func add(_ regions: RegionConfiguration...) throws(Errno) {
    let all = RegionHeader.headers(of: self.regions + regions)
    try add(regions, Array(all.suffix(regions.count)))
  }

  func resize(_ name: String, to size: UInt64) throws(Errno) {
    try resize(
      to: RegionHeader(name: RegionName(name)!, geometry: region(name, size: size).geometry))
  }

  func remove(_ name: String) throws(Errno) {
    try remove(RegionName(name)!)
  }

  func contents(_ name: String) throws(Errno) -> [UInt8] {
    let file = try open(RegionName(name)!)
    return try file.read(Int(try file.status().size), at: 0)
  }

  /// A word of a region's file.
  func word(_ offset: UInt32, of name: String) throws(Errno) -> UInt32 {
    let bytes = try open(RegionName(name)!).read(4, at: UInt64(offset))
    return bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  func setWord(_ offset: UInt32, of name: String, to value: UInt32) throws(Errno) {
    try open(RegionName(name)!).write(
      (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }, at: UInt64(offset))
  }

  var names: [String] { regions.map(\.name.description) }
}
