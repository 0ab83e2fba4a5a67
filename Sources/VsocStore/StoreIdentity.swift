// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
internal import VsocConfiguration

/// The file by which a directory is known to be a store, and the format of everything in it.
enum StoreIdentity {
  static let name = "vsocfs-store"
  static let format = 1
  private static let prefix = "vsocfs store, format "

  /// Finds out whether a directory is a store, and makes one of it if it is empty. With the lock
  /// taken, which may be all that there is yet.
  static func ensure(
    in directory: borrowing Directory, _ lock: borrowing StoreLock
  ) throws(ConfigurationError) {
    if let text = try directory.text(name) { return try check(text, in: directory) }
    let others = try directory.foundNames().filter { other in
      other != StoreLock.name && !Directory.isTemporary(other, of: name)
    }
    if let other = others.first { throw foreign(other, in: directory) }
    guard (try? lock.isAnnounced) == false else { throw foreign(StoreLock.name, in: directory) }
    try directory.attempt(on: name) { () throws(Errno) in
      try directory.replace(name, "\(prefix)\(format)\n")
    }
    // Somebody may be allowed to write here and not there.
    try? directory.synchronizeParent()
  }

  private static func check(
    _ text: String, in directory: borrowing Directory
  ) throws(ConfigurationError) {
    guard text.hasPrefix(prefix), text.last == "\n",
      let found = Int(text.dropFirst(prefix.count).dropLast())
    else { throw directory.failure(name, "damaged: is not the first line of a store") }
    guard found == format else {
      throw directory.failure(
        name, "the store has format \(found), but this vsocfs knows format \(format) only")
    }
  }

  static func foreign(_ name: String, in directory: borrowing Directory) -> ConfigurationError {
    directory.failure(name, "the directory is neither a store nor empty")
  }
}
