// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocConfiguration
internal import VsocEngine
internal import VsocProtocol

/// Permissions that have died with the daemon.
extension Store {
  /// Brings their areas back into the regions, frees their owner words, and begins a new journal.
  ///
  /// Whatever of that was done before a kill is done again at the next start, as journal and areas go
  /// last, in this order.
  static func recoverPermissions(
    _ contents: StoreContents, in directory: borrowing Directory, _ files: borrowing Directory,
    _ areas: borrowing Directory, _ log: (String) -> Void
  ) throws(ConfigurationError) -> PermissionJournal {
    let regions = Dictionary(uniqueKeysWithValues: contents.regions.map { ($0.name, $0) })
    for entry in contents.permissions where entry.state == .given {
      guard let region = regions[entry.record.region] else { continue }
      try bringBack(
        entry.record, to: region, hasFile: contents.hasArea(of: entry), files, areas, log)
    }
    // A manager that is managed itself may have owner words in an area: all areas come first.
    for entry in contents.permissions { try end(entry.record, of: regions, in: files, log) }
    let name = PermissionJournal.name
    let journal = try directory.attempt(on: name) { () throws(Errno) in
      guard let file = try directory.open(name) else {
        return PermissionJournal(try directory.create(name))
      }
      try file.truncate(to: 0)
      // Else a failure of power would let old areas come back once more.
      if !contents.permissions.isEmpty { try file.synchronize() }
      return PermissionJournal(file)
    }
    for number in contents.areas.keys.sorted() {
      let file = areaFile(number)
      try areas.attempt(on: file) { () throws(Errno) in try areas.remove(file) }
    }
    return journal
  }

  // MARK: - Areas

  private static func bringBack(
    _ record: PermissionRecord, to region: RegionConfiguration, hasFile: Bool,
    _ files: borrowing Directory, _ areas: borrowing Directory, _ log: (String) -> Void
  ) throws(ConfigurationError) {
    let permission = record.permission
    let area =
      "area \(permission.beginOffset)-\(permission.endOffset) of region "
      + quoted(region.name.description)
    let source = areaFile(record.area)
    guard region.geometry.hasArea(of: permission) else {
      log("\(area) is no area of it: left")
      return
    }
    guard hasFile else {
      log("\(area) has no file \(areas.path(of: source)) of its size: left")
      return
    }
    let target = try StoreContents.check(region, in: files)
    guard let file = try areas.file(source) else { throw areas.failure(source, "is missing") }
    let name = StoredName(region.name, .region).file
    var done: UInt64 = 0
    while done < UInt64(permission.size) {
      let count = Int(min(UInt64(permission.size) - done, 1 << 20))
      let bytes = try areas.attempt(on: source) { () throws(Errno) in
        let bytes = try file.read(count, at: done)
        guard bytes.count == count else { throw .ioError }
        return bytes
      }
      try files.attempt(on: name) { () throws(Errno) in
        try target.write(bytes, at: UInt64(permission.beginOffset) + done)
      }
      done += UInt64(count)
    }
    try files.attempt(on: name) { () throws(Errno) in try target.synchronize() }
    log("\(area) was held still: brought back")
  }

  // MARK: - Owner words

  private static func end(
    _ record: PermissionRecord, of regions: [RegionName: RegionConfiguration],
    in files: borrowing Directory, _ log: (String) -> Void
  ) throws(ConfigurationError) {
    let region = quoted(record.region.description)
    let manager = quoted(record.manager.description)
    guard let owner = regions[record.manager] else {
      log("a permission of region \(manager), which there is not, has ended")
      return
    }
    guard let managed = regions[record.region] else {
      log("a permission for region \(region), which there is not, has ended")
      return try free(record.permission, of: owner, in: files, log)
    }
    guard managed.managedBy == record.manager else {
      log(
        "owner word \(record.permission.ownerOffset) of region \(manager) "
          + "says nothing of region \(region), which it does not manage: left")
      return
    }
    try free(record.permission, of: owner, in: files, log)
  }

  private static func free(
    _ permission: Permission, of region: RegionConfiguration,
    in files: borrowing Directory, _ log: (String) -> Void
  ) throws(ConfigurationError) {
    let name = StoredName(region.name, .region).file
    let file = try StoreContents.check(region, in: files)
    let outcome = try files.attempt(on: name) { () throws(Errno) in
      // Programs that outlived the daemon may have it mapped still, and use the word.
      let mapping = try SharedMapping(descriptor: file.raw, size: Int(region.geometry.size))
      let window = unsafe RegionWindow(base: mapping.base, size: region.geometry.size)
      let outcome = window.free(permission, region.geometry)
      // A page that somebody took out of the file, and no room for another.
      guard !mapping.isBroken else { throw .noSpace }
      try file.synchronize()
      return outcome
    }
    let word = "owner word \(permission.ownerOffset) of region \(quoted(region.name.description))"
    switch outcome {
    case .freed: log("\(word) held \(permission.ownedValue) still: freed")
    case .isFree: break
    case .isOther(let value): log("\(word) holds \(value), not \(permission.ownedValue): left")
    case .isNone: log("\(word) is no word of it: left")
    }
  }
}

private enum OwnerWord {
  case freed
  case isFree
  case isOther(UInt32)
  case isNone
}

extension RegionWindow {
  fileprivate func free(_ permission: Permission, _ geometry: RegionGeometry) -> OwnerWord {
    guard permission.ownerOffset >= geometry.dataOffset,
      let word = try? word(at: permission.ownerOffset)
    else { return .isNone }
    let found = word.compareExchange(expected: permission.ownedValue, Permission.free)
    if found == permission.ownedValue { return .freed }
    return found == Permission.free ? .isFree : .isOther(found)
  }
}

extension RegionGeometry {
  /// Whether a region can have given that area, as far as it is laid out so.
  fileprivate func hasArea(of permission: Permission) -> Bool {
    let (begin, end) = (permission.beginOffset, permission.endOffset)
    return begin >= dataOffset && begin < end && end <= size
      && begin % Self.pageSize == 0 && end % Self.pageSize == 0
  }
}
