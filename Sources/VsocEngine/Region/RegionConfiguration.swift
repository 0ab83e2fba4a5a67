// SPDX-License-Identifier: Apache-2.0

public import VsocProtocol

/// Owner and mode of the files of one end. A directory's mode is its files' with x where r is.
public struct EndAccess: Hashable, Sendable {
  public var uid: UInt32
  public var gid: UInt32
  /// Read and write bits only (mask 0666).
  public var mode: UInt32

  public init(uid: UInt32, gid: UInt32, mode: UInt32) {
    self.uid = uid
    self.gid = gid
    self.mode = mode & 0o666
  }
}

/// What defines a region: everything that a layout file says of it.
public struct RegionConfiguration: Hashable, Sendable {
  public var name: RegionName
  public var geometry: RegionGeometry
  public var currentVersion: UInt16 = 0
  public var minCompatibleVersion: UInt16 = 0
  /// The name of the managing region.
  public var managedBy: RegionName?
  public var guest: EndAccess
  public var host: EndAccess

  public init(
    name: RegionName, geometry: RegionGeometry, guest: EndAccess, host: EndAccess
  ) {
    self.name = name
    self.geometry = geometry
    self.guest = guest
    self.host = host
  }

  public func access(of end: End) -> EndAccess {
    end == .guest ? guest : host
  }
}
