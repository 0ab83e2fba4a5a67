// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import LinuxSystem
internal import SystemPackage
internal import VsocConfiguration

/// Files of a store, and what is said of them when they are not as they must be.
extension Directory {
  /// The message about a file.
  func failure(_ name: String, _ problem: String) -> ConfigurationError {
    ConfigurationError(source: path(of: name), problem: problem)
  }

  /// Says of which file it is that something failed.
  func attempt<Value: ~Copyable>(
    on name: String, _ body: () throws(Errno) -> Value
  ) throws(ConfigurationError) -> Value {
    do throws(Errno) {
      return try body()
    } catch {
      throw failure(name, "\(error)")
    }
  }

  /// Opens a file that nobody else can have replaced or can change; nil where there is none.
  func file(_ name: String) throws(ConfigurationError) -> Descriptor? {
    let opened: Descriptor?
    do throws(Errno) {
      opened = try open(name)
    } catch {
      throw failure(
        name, error == .tooManySymbolicLinkLevels ? "is a symbolic link" : "\(error)")
    }
    guard let file = opened else { return nil }
    let status = try attempt(on: name) { () throws(Errno) in try file.status() }
    guard status.isRegular else { throw failure(name, "is not a regular file") }
    try check(status, of: name)
    return file
  }

  func check(_ status: FileStatus, of name: String) throws(ConfigurationError) {
    guard status.owner == geteuid() else {
      throw failure(name, "belongs to user \(status.owner), but the daemon is user \(geteuid())")
    }
    guard status.mode & 0o022 == 0 else { throw failure(name, "can be written by others") }
  }

  /// What a small file holds; nil where there is none.
  func contents(_ name: String) throws(ConfigurationError) -> [UInt8]? {
    guard let file = try file(name) else { return nil }
    return try attempt(on: name) { () throws(Errno) in
      let size = try file.status().size
      guard size <= LayoutFile.maximumSize else { throw .fileTooLarge }
      return try file.read(Int(size), at: 0)
    }
  }

  func text(_ name: String) throws(ConfigurationError) -> String? {
    guard let bytes = try contents(name) else { return nil }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw failure(name, "damaged: is not UTF-8")
    }
    return text
  }

  /// The names in it, except for the one that a file system makes by itself in its root.
  func foundNames() throws(ConfigurationError) -> [String] {
    do throws(Errno) {
      return try names().filter { $0 != "lost+found" }.sorted()
    } catch {
      throw ConfigurationError(source: path, problem: "\(error)")
    }
  }

  // MARK: - Replacing a file

  private static func temporary(_ name: String) -> String { ".\(name)" }

  /// Whether it is of a file that was being written when the daemon was killed.
  static func isTemporary(_ name: String, of final: String) -> Bool {
    name == temporary(final)
  }

  /// Writes what a file is to hold next, which takes the place of what it holds with `publish`.
  func prepare(_ name: String, _ text: String) throws(Errno) {
    try discard(name)
    let file = try create(Self.temporary(name))
    do throws(Errno) {
      try file.write(Array(text.utf8), at: 0)
      try file.synchronize()
    } catch {
      try? discard(name)
      throw error
    }
  }

  /// Puts what `prepare` has written in its place, at once and for good.
  func publish(_ name: String) throws(Errno) {
    try rename(Self.temporary(name), to: name)
    try synchronize()
  }

  /// Removes what was prepared and not published, if there is such.
  func discard(_ name: String) throws(Errno) {
    try remove(Self.temporary(name))
  }

  func replace(_ name: String, _ text: String) throws(Errno) {
    try prepare(name, text)
    try publish(name)
  }
}
