// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import SystemPackage

/// A directory that something is going to be mounted on.
package enum MountPoint {
  /// Makes sure that a file system of the given type can be mounted at `path`: mounts of that type
  /// whose daemon has died are detached from there first, one that lives is refused.
  ///
  /// - Returns: the directory's absolute path, without symbolic links.
  package static func prepare(
    _ path: String, fileSystemType: String
  ) throws(MountPointError) -> String {
    while true {
      let place: Descriptor
      do throws(Errno) {
        place = Descriptor(owning: try check { unsafe vsocfs_open_place(path) })
      } catch {
        throw MountPointError(path: path, problem: "\(error)")
      }
      let directory: String
      let mount: MountTable.Entry?
      do {
        directory = try pathInProc(of: place)
        mount = try self.mount(of: place)
      } catch {
        throw MountPointError(path: path, problem: "/proc does not tell where it is: \(error)")
      }
      guard let mount, mount.fileSystemType == fileSystemType,
        mount.mountPoint.utf8.elementsEqual(directory.utf8)
      else { return directory }
      guard !answers(place) else {
        throw MountPointError(path: path, problem: "\(fileSystemType) is mounted there already")
      }
      do {
        try detach(directory)
      } catch {
        throw MountPointError(path: path, problem: "cannot detach the dead mount there: \(error)")
      }
    }
  }

  /// Whether what is mounted last at a directory has lost its daemon.
  package static func isDead(_ path: String) -> Bool {
    guard let place = try? check({ unsafe vsocfs_open_place(path) }) else { return false }
    return !answers(Descriptor(owning: place))
  }

  /// Takes what is mounted last away from a directory; other than root one can do so with what one
  /// has mounted oneself.
  private static func detach(_ directory: String) throws {
    let result = unsafe vsocfs_umount_detach(directory)
    if result == -EPERM {
      try Fusermount.unmount(directory, lazily: true)
    } else {
      try check { result }
    }
  }

  /// The path of an open directory: the link is followed by nobody, so a dead mount has one too.
  private static func pathInProc(of place: borrowing Descriptor) throws -> String {
    let link = "/proc/self/fd/\(place.raw)"
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = unsafe buffer.withUnsafeMutableBytes { bytes in
      unsafe readlink(link, bytes.baseAddress!, bytes.count)
    }
    guard count >= 0 else { throw Errno(rawValue: errno) }
    return String(decoding: buffer[..<count], as: UTF8.self)
  }

  /// The mount that a place is in.
  private static func mount(of place: borrowing Descriptor) throws -> MountTable.Entry? {
    let key = "mnt_id:"
    let line = try text(of: FilePath("/proc/self/fdinfo/\(place.raw)")).split(separator: "\n")
      .first { $0.hasPrefix(key) }
    guard let id = line?.dropFirst(key.count).split(whereSeparator: \.isWhitespace).first else {
      return nil
    }
    return MountTable(parsing: try text(of: "/proc/self/mountinfo")).entries
      .first { "\($0.id)" == id }
  }

  /// Whether somebody still serves the mount: statfs(2) is never answered from a cache.
  private static func answers(_ place: borrowing Descriptor) -> Bool {
    var status = statvfs()
    return unsafe fstatvfs(place.raw, &status) == 0 || errno != ENOTCONN && errno != ECONNABORTED
  }

  private static func text(of file: FilePath) throws -> String {
    let file = try FileDescriptor.open(file, .readOnly, options: .closeOnExec)
    return try Descriptor(owning: file.rawValue).readToEnd()
  }
}

/// Why nothing can be mounted at a path.
package struct MountPointError: Error, Hashable, Sendable, CustomStringConvertible {
  package var path: String
  package var problem: String

  package var description: String { "\(path): \(problem)" }
}
