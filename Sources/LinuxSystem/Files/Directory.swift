// SPDX-License-Identifier: Apache-2.0

internal import Glibc
package import SystemPackage

/// An open directory. What it holds is found there wherever the directory is moved to and whatever
/// becomes of the working directory (openat(2)); symbolic links in it are not followed.
package struct Directory: ~Copyable, Sendable {
  /// How it was named, for messages.
  package let path: String
  private let descriptor: Descriptor

  private static let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC

  /// Opens a directory. Links in its path are followed.
  package init(path: String) throws(Errno) {
    self.path = path
    descriptor = Descriptor(owning: try result { unsafe Glibc.open(path, Self.flags) })
  }

  private init(path: String, descriptor: consuming Descriptor) {
    self.path = path
    self.descriptor = descriptor
  }

  /// Opens a directory in it; nil where there is nothing of the name.
  package func directory(_ name: String) throws(Errno) -> Directory? {
    let parent = descriptor.raw
    do throws(Errno) {
      let opened = try result { unsafe openat(parent, name, Self.flags | O_NOFOLLOW) }
      return Directory(path: path(of: name), descriptor: Descriptor(owning: opened))
    } catch .noSuchFileOrDirectory {
      return nil
    }
  }

  package func path(of name: String) -> String { "\(path)/\(name)" }

  /// Makes a directory for its owner alone.
  package func makeDirectory(_ name: String) throws(Errno) {
    let parent = descriptor.raw
    try result { unsafe mkdirat(parent, name, 0o700) }
  }

  /// Opens a file for reading and writing, or whatever else has the name, without waiting for it.
  /// Nil where there is nothing.
  package func open(_ name: String) throws(Errno) -> Descriptor? {
    let parent = descriptor.raw
    let flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
    do throws(Errno) {
      return Descriptor(owning: try result { unsafe openat(parent, name, flags) })
    } catch .noSuchFileOrDirectory {
      return nil
    }
  }

  /// Makes an empty file for its owner alone. EEXIST where the name is taken.
  ///
  /// - Parameter isReadOnly: opens it for reading only, so that there is nobody yet who can write.
  package func create(_ name: String, isReadOnly: Bool = false) throws(Errno) -> Descriptor {
    let parent = descriptor.raw
    let access = isReadOnly ? O_RDONLY : O_RDWR
    let flags = access | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
    return Descriptor(owning: try result { unsafe openat(parent, name, flags, 0o600) })
  }

  /// Removes a file, if there is one of the name.
  package func remove(_ name: String) throws(Errno) {
    let parent = descriptor.raw
    do throws(Errno) {
      try result { unsafe unlinkat(parent, name, 0) }
    } catch .noSuchFileOrDirectory {}
  }

  /// Makes a symbolic link. EEXIST where the name is taken.
  package func makeLink(_ name: String, to target: String) throws(Errno) {
    let parent = descriptor.raw
    try result { unsafe symlinkat(target, parent, name) }
  }

  /// What a symbolic link says; nil where there is none of the name.
  package func link(_ name: String) -> String? {
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = unsafe buffer.withUnsafeMutableBytes { bytes in
      unsafe readlinkat(descriptor.raw, name, bytes.baseAddress!, bytes.count)
    }
    return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
  }

  /// Gives a file another name, in place of what has it.
  package func rename(_ name: String, to newName: String) throws(Errno) {
    let parent = descriptor.raw
    try result { unsafe renameat(parent, name, parent, newName) }
  }

  /// Brings the names to the disk.
  package func synchronize() throws(Errno) {
    try descriptor.synchronize()
  }

  /// The same for the directory that holds this one.
  package func synchronizeParent() throws(Errno) {
    let raw = descriptor.raw
    let parent = Descriptor(owning: try result { unsafe openat(raw, "..", Self.flags) })
    try parent.synchronize()
  }

  package func status() throws(Errno) -> FileStatus { try descriptor.status() }

  /// Everything in it but `.` and `..`, in no order. A name that is no UTF-8 comes repaired.
  package func names() throws(Errno) -> [String] {
    let raw = descriptor.raw
    // The stream has a position, and closes what it reads from.
    let copy = try result { unsafe openat(raw, ".", Self.flags) }
    guard let stream = unsafe fdopendir(copy) else {
      let error = Errno(rawValue: errno)
      close(copy)
      throw error
    }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = unsafe readdir(stream) else {
        guard errno == 0 else { throw Errno(rawValue: errno) }
        return names
      }
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
  }

  /// Makes a directory at a path whose last part need not exist yet, for its owner alone.
  package static func ensure(path: String) throws(Errno) {
    do throws(Errno) {
      try result { unsafe mkdir(path, 0o700) }
    } catch .fileExists {}
  }
}
