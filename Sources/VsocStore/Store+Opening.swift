// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocConfiguration
internal import VsocEngine
internal import VsocProtocol

/// From a directory to a store that is as it should be.
extension Store {
  /// Makes what a new store lacks after its identity, and gives the directory of the regions.
  static func completed(
    _ directory: borrowing Directory
  ) throws(ConfigurationError) -> Directory {
    let hasLayout = try directory.file(StoreContents.layout) != nil
    let files = try self.directory(StoreContents.regions, in: directory, making: !hasLayout)
    // A layout is made only where it cannot be that there was one.
    if !hasLayout {
      guard try files.foundNames().isEmpty else {
        throw directory.failure(StoreContents.layout, "damaged: is missing")
      }
      try directory.attempt(on: StoreContents.layout) { () throws(Errno) in
        try directory.replace(StoreContents.layout, Layout.text(of: []))
      }
    }
    return files
  }

  /// The directory of the areas. Stores from before there were areas have none.
  static func ensureAreas(
    in directory: borrowing Directory
  ) throws(ConfigurationError) -> Directory {
    try self.directory(areas, in: directory, making: true)
  }

  private static func directory(
    _ name: String, in directory: borrowing Directory, making: Bool
  ) throws(ConfigurationError) -> Directory {
    if let found = try directory.attempt(
      on: name, { () throws(Errno) in try directory.directory(name) })
    {
      let status = try directory.attempt(on: name) { () throws(Errno) in try found.status() }
      try directory.check(status, of: name)
      return found
    }
    guard making else { throw directory.failure(name, "damaged: is missing") }
    try directory.attempt(on: name) { () throws(Errno) in try directory.makeDirectory(name) }
    return try self.directory(name, in: directory, making: false)
  }

  /// Ends what a killed daemon has begun, and brings the headers up to date.
  static func settle(
    _ contents: StoreContents, in directory: borrowing Directory, _ files: borrowing Directory,
    _ log: (String) -> Void
  ) throws(ConfigurationError) {
    for name in [StoreIdentity.name, StoreContents.layout, StoreContents.root] {
      try directory.attempt(on: name) { () throws(Errno) in try directory.discard(name) }
    }
    for orphan in contents.orphans {
      log("\(files.path(of: orphan.file)): removed, as there is no such region")
      try files.attempt(on: orphan.file) { () throws(Errno) in try files.remove(orphan.file) }
    }
    if !contents.destroyed.isEmpty {
      try directory.attempt(on: StoreContents.layout) { () throws(Errno) in
        try directory.replace(StoreContents.layout, Layout.text(of: contents.regions))
      }
    }
    for name in contents.destroyed {
      for kind in [StoredName.Kind.region, .gone] {
        let file = StoredName(name, kind).file
        try files.attempt(on: file) { () throws(Errno) in try files.remove(file) }
      }
    }
    for header in RegionHeader.headers(of: contents.regions) {
      try settle(header, in: files, log)
    }
  }

  private static func settle(
    _ header: RegionHeader, in files: borrowing Directory, _ log: (String) -> Void
  ) throws(ConfigurationError) {
    let name = StoredName(header.name, .region).file
    try files.attempt(on: name) { () throws(Errno) in
      guard let file = try files.open(name) else { throw .noSuchFileOrDirectory }
      let size = UInt64(header.geometry.size)
      let status = try file.status()
      // A copy of a store may have holes, and a store into a hole may find no room.
      if status.allocated < size { try file.allocate(size) }
      if status.size > size {
        log("\(files.path(of: name)): cut to the \(size) bytes of the layout")
        try file.truncate(to: size)
      }
      let found = try file.read(header.layoutBytes.count, at: 0)
      if let renewed = header.renewed(found) { try file.write(renewed, at: 0) }
    }
  }
}

extension RegionHeader {
  /// The headers of all regions, in the order of their indices.
  static func headers(of regions: [RegionConfiguration]) -> [RegionHeader] {
    let indices = Dictionary(zip(regions.map(\.name), UInt32(1)...)) { first, _ in first }
    return regions.map { region in
      RegionHeader(
        name: region.name, geometry: region.geometry, currentVersion: region.currentVersion,
        minCompatibleVersion: region.minCompatibleVersion,
        managedBy: region.managedBy.flatMap { indices[$0] } ?? 0)
    }
  }
}
