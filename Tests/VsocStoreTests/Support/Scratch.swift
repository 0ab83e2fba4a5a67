// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import VsocConfiguration
import VsocEngine
import VsocProtocol

@testable import VsocStore

/// A directory of one test, removed at the end with all that is in it.
final class Scratch {
  let path: String
  private var mounted: [String] = []

  init() throws {
    var template = Array("/tmp/vsocfs-store-test.XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw Errno(rawValue: errno) }
    path = String(
      decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    for place in mounted { unsafe umount2(place, Int32(MNT_DETACH)) }
    Self.remove(path)
  }

  /// Where a test has its store.
  var store: String { path + "/store" }

  /// An open store there.
  func open(log: (String) -> Void = { _ in }) throws(ConfigurationError) -> Store {
    try LockHolder.starting.withLock { _ throws(ConfigurationError) in
      try Store(path: store, log: log)
    }
  }

  /// The message with which opening it is refused, from the store's path on; nil if it is not.
  func refusal() -> String? {
    do throws(ConfigurationError) {
      _ = try open()
      return nil
    } catch {
      return error.description.replacing(store + "/", with: "")
    }
  }

  /// Mounts a small file system where the store is to be.
  ///
  /// - Parameter files: how many it can hold, directories included.
  func mountDisk(bytes: Int, files: Int? = nil) throws {
    makeDirectory("")
    let options = "size=\(bytes)" + (files.map { ",nr_inodes=\($0)" } ?? "")
    guard unsafe mount("tmpfs", store, "tmpfs", 0, options) == 0 else {
      throw Errno(rawValue: errno)
    }
    mounted.append(store)
  }

  // MARK: Files in the store

  func makeDirectory(_ name: String) {
    unsafe mkdir("\(store)/\(name)", 0o755)
  }

  func write(_ name: String, _ text: String) throws {
    try write(name, Array(text.utf8))
  }

  func write(_ name: String, _ bytes: [UInt8]) throws {
    let file = try FileDescriptor.open(
      FilePath("\(store)/\(name)"), .readWrite, options: [.create, .truncate],
      permissions: .ownerReadWrite)
    _ = try file.closeAfter { try file.writeAll(bytes) }
  }

  func change(_ name: String, _ body: (borrowing Descriptor) throws(Errno) -> Void) throws {
    let file = Descriptor(owning: unsafe Glibc.open("\(store)/\(name)", O_RDWR))
    guard file.raw >= 0 else { throw Errno(rawValue: errno) }
    try body(file)
  }

  func bytes(_ name: String) throws -> [UInt8] {
    let file = Descriptor(owning: unsafe Glibc.open("\(store)/\(name)", O_RDONLY | O_NONBLOCK))
    guard file.raw >= 0 else { throw Errno(rawValue: errno) }
    let status = try file.status()
    guard status.isRegular else { throw Errno.isDirectory }
    return try file.read(Int(status.size), at: 0)
  }

  func text(_ name: String) throws -> String {
    String(decoding: try bytes(name), as: UTF8.self)
  }

  /// Removes a file or an empty directory.
  func remove(_ name: String) {
    if unsafe unlink("\(store)/\(name)") != 0 { unsafe rmdir("\(store)/\(name)") }
  }

  func rename(_ name: String, to other: String) {
    unsafe Glibc.rename("\(store)/\(name)", "\(store)/\(other)")
  }

  /// What a kill would leave at this moment of a store that is in use.
  func copy() throws -> Scratch {
    let copy = try Scratch()
    copy.makeDirectory("")
    for name in names() {
      guard (try? bytes(name)) == nil else {
        try copy.write(name, bytes(name))
        continue
      }
      copy.makeDirectory(name)
      for file in names(name) { try copy.write("\(name)/\(file)", bytes("\(name)/\(file)")) }
    }
    return copy
  }

  /// Sorted.
  func names(_ directory: String = "") -> [String] {
    Self.names(in: "\(store)/\(directory)").sorted()
  }

  func mode(_ name: String) -> UInt32 {
    var status = stat()
    return unsafe lstat("\(store)/\(name)", &status) == 0 ? status.st_mode & 0o7777 : 0
  }

  /// Bytes that the file system of the store has left.
  var freeBytes: UInt64 {
    var status = statvfs()
    unsafe statvfs(store, &status)
    return UInt64(status.f_bavail) * UInt64(status.f_frsize)
  }

  private static func names(in path: String) -> [String] {
    guard let directory = try? Directory(path: path) else { return [] }
    return (try? directory.names()) ?? []
  }

  private static func remove(_ path: String) {
    for name in names(in: path) {
      let child = path + "/" + name
      if unsafe unlink(child) == 0 || rmdir(child) == 0 { continue }
      remove(child)
    }
    unsafe rmdir(path)
  }
}
