// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import LinuxSystem
internal import SystemPackage
internal import VsocConfiguration
internal import VsocEngine
internal import VsocProtocol

/// What a store holds when it is opened, read and checked. Nothing is changed by that.
struct StoreContents {
  static let layout = "layout.json5"
  static let regions = "regions"
  static let root = "root"

  /// In the order of the layout, without those that are destroyed.
  var regions: [RegionConfiguration]
  /// Nil in a store that has just been made.
  var root: RootAccess?
  var permissions: [PermissionJournal.Entry]
  /// Files of areas, by their numbers, with their sizes.
  var areas: [UInt64: UInt64]
  /// Files of regions that are not in the layout, or are not complete.
  var orphans: [StoredName] = []
  /// Regions that the layout may name still.
  var destroyed: Set<RegionName> = []

  init(
    of directory: borrowing Directory, regions files: borrowing Directory,
    areas: borrowing Directory
  ) throws(ConfigurationError) {
    let path = directory.path(of: Self.layout)
    guard let text = try directory.text(Self.layout) else {
      throw directory.failure(Self.layout, "damaged: is missing")
    }
    // Every key is there but where somebody has edited the file.
    regions = try Layout.parse(
      text, source: path, defaults: RegionDefaults(uid: geteuid(), gid: getegid()))
    root = try Self.rootAccess(in: directory)
    permissions = try Self.permissions(in: directory)
    self.areas = try Self.areaSizes(in: areas)

    let names = try files.foundNames().compactMap(StoredName.init(file:))
    destroyed = Set(names.filter { $0.kind == .gone }.map(\.region))
    regions.removeAll { destroyed.contains($0.name) }
    let listed = Set(regions.map(\.name))
    orphans = names.filter { name in
      name.kind == .new || name.kind == .region && !listed.contains(name.region)
    }
    for region in regions { try Self.check(region, in: files) }
    try checkAreas(in: directory)
  }

  /// Opens a region's file. It may be longer than the layout says, if a change of size was not
  /// completed, but not shorter.
  @discardableResult
  static func check(
    _ region: RegionConfiguration, in files: borrowing Directory
  ) throws(ConfigurationError) -> Descriptor {
    let name = StoredName(region.name, .region).file
    guard let file = try files.file(name) else {
      throw files.failure(
        name, "damaged: is missing, but \(layout) has region \(quoted(region.name.description))")
    }
    let status = try files.attempt(on: name) { () throws(Errno) in try file.status() }
    guard status.size >= UInt64(region.geometry.size) else {
      throw files.failure(
        name,
        "damaged: has \(status.size) bytes, but \(layout) says \(region.geometry.size)")
    }
    return file
  }

  // MARK: - The small files

  private static func rootAccess(
    in directory: borrowing Directory
  ) throws(ConfigurationError) -> RootAccess? {
    guard let text = try directory.text(root) else { return nil }
    guard let access = RootAccess(storedText: text) else {
      throw directory.failure(root, "damaged: is not owner and mode of a directory")
    }
    return access
  }

  private static func permissions(
    in directory: borrowing Directory
  ) throws(ConfigurationError) -> [PermissionJournal.Entry] {
    let name = PermissionJournal.name
    guard let bytes = try directory.contents(name) else { return [] }
    guard let entries = PermissionJournal.entries(in: bytes) else {
      throw directory.failure(name, "damaged: has a line that is no permission")
    }
    return entries
  }

  // MARK: - Areas

  private static func areaSizes(
    in areas: borrowing Directory
  ) throws(ConfigurationError) -> [UInt64: UInt64] {
    var sizes: [UInt64: UInt64] = [:]
    for name in try areas.foundNames() {
      guard let number = Store.areaNumber(ofFile: name), let file = try areas.file(name) else {
        continue
      }
      sizes[number] = try areas.attempt(on: name) { () throws(Errno) in try file.status().size }
    }
    return sizes
  }

  /// Whether there is a file with all that a client has left in the area. There is none for lines
  /// that could not be removed when the permission ended.
  func hasArea(of entry: PermissionJournal.Entry) -> Bool {
    entry.state == .given && areas[entry.record.area] == UInt64(entry.record.permission.size)
  }

  /// No byte of a region is in two areas, and no file is that of two.
  private func checkAreas(in directory: borrowing Directory) throws(ConfigurationError) {
    let records = permissions.filter(hasArea).map(\.record)
    var areDistinct = Set(records.map(\.area)).count == records.count
    for ofRegion in Dictionary(grouping: records, by: \.region).values {
      let inOrder = ofRegion.map(\.permission).sorted { $0.beginOffset < $1.beginOffset }
      for (one, next) in zip(inOrder, inOrder.dropFirst()) where one.endOffset > next.beginOffset {
        areDistinct = false
      }
    }
    guard areDistinct else {
      throw directory.failure(PermissionJournal.name, "damaged: has two lines for one area")
    }
  }
}

extension RootAccess {
  /// One line: `uid 0 gid 0 mode 0755`.
  var storedText: String {
    let digits = String(mode, radix: 8)
    return "uid \(uid) gid \(gid) mode \(digits.count < 4 ? "0" : "")\(digits)\n"
  }

  init?(storedText text: String) {
    let words = text.split(separator: " ")
    guard text.last == "\n", words.count == 6,
      words[0] == "uid", let uid = UInt32(words[1]),
      words[2] == "gid", let gid = UInt32(words[3]),
      words[4] == "mode", let mode = UInt32(words[5].dropLast(), radix: 8), mode <= 0o1777
    else { return nil }
    self.init(uid: uid, gid: gid, mode: mode)
  }
}
