// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocConfiguration
internal import VsocEngine
internal import VsocProtocol

/// Permissions that have died with the daemon.
extension Store {
  /// Frees their owner words, and begins a new journal.
  static func recoverPermissions(
    _ contents: StoreContents, in directory: borrowing Directory, _ files: borrowing Directory,
    _ log: (String) -> Void
  ) throws(ConfigurationError) -> PermissionJournal {
    let regions = Dictionary(uniqueKeysWithValues: contents.regions.map { ($0.name, $0) })
    for permission in contents.permissions {
      let manager = quoted(permission.manager.description)
      guard let region = regions[permission.manager] else {
        log("a permission of region \(manager), which there is not, has ended")
        continue
      }
      try free(permission, of: region, in: files, log)
    }
    let name = PermissionJournal.name
    return try directory.attempt(on: name) { () throws(Errno) in
      guard let file = try directory.open(name) else {
        return PermissionJournal(try directory.create(name))
      }
      try file.truncate(to: 0)
      return PermissionJournal(file)
    }
  }

  private static func free(
    _ permission: StoredPermission, of region: RegionConfiguration,
    in files: borrowing Directory, _ log: (String) -> Void
  ) throws(ConfigurationError) {
    let name = StoredName(region.name, .region).file
    let file = try StoreContents.check(region, in: files)
    let outcome = try files.attempt(on: name) { () throws(Errno) in
      // Programs that outlived the daemon may have it mapped still, and use the word.
      let mapping = try SharedMapping(descriptor: file.raw, size: Int(region.geometry.size))
      let window = unsafe RegionWindow(base: mapping.base, size: region.geometry.size)
      let outcome = window.free(permission)
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
  fileprivate func free(_ permission: StoredPermission) -> OwnerWord {
    guard let word = try? word(at: permission.ownerOffset) else { return .isNone }
    let found = word.compareExchange(expected: permission.ownedValue, 0)
    if found == permission.ownedValue { return .freed }
    return found == 0 ? .isFree : .isOther(found)
  }
}
