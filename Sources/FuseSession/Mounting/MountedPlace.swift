// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import LinuxSystem
internal import SystemPackage

/// Where a session is mounted, and what it takes to end that.
struct MountedPlace: ~Copyable, Sendable {
  private let path: String
  /// The number of the file system and of the connection.
  private let device: Int32
  /// The kernel's way for a connection's owner to end it; there only where /sys/fs/fuse/connections
  /// is mounted. Opened while the connection's number cannot be another's yet.
  private let abortFile: Descriptor?

  /// What has just been mounted at a directory, an absolute path without symbolic links.
  init(_ path: String) {
    self.path = path
    device = unsafe vsocfs_mounted_device(path)
    abortFile = Self.openAbortFile(of: device).map { Descriptor(owning: $0.rawValue) }
  }

  /// What a `1` is written to for the end of a connection; nil where that is not mounted.
  static func openAbortFile(of device: Int32) -> FileDescriptor? {
    try? FileDescriptor.open(
      FilePath("/sys/fs/fuse/connections/\(device)/abort"), .writeOnly, options: .closeOnExec)
  }

  /// Lets its files have as many dirty pages as any file system's. The kernel allows those of FUSE a
  /// hundredth of that, so that a daemon that writes nothing back does little harm; whoever stores
  /// more is made to wait. Only root can.
  func allowDirtyPages() {
    guard
      let file = try? FileDescriptor.open(
        FilePath("/sys/class/bdi/0:\(device)/max_ratio"), .writeOnly, options: .closeOnExec)
    else { return }
    _ = try? file.closeAfter { try file.writeAll("100\n".utf8) }
  }

  /// Takes it away from there, and ends the connection for everybody who has it open. Nothing is done
  /// where it is mounted no more.
  ///
  /// Users other than root may be unable to end it: then it goes on for those who have it open until
  /// this process ends.
  ///
  /// - Parameter isAlive: whether the connection is alive.
  func end(isAlive: () -> Bool) throws {
    guard isThere(isAlive()) else { return }
    do {
      if geteuid() == 0 {
        try check { unsafe vsocfs_umount_abort(path) }
      } else {
        defer { abort() }
        try Fusermount.unmount(path, lazily: true)
      }
    } catch {
      // Somebody else may just have unmounted it.
      if isThere(isAlive()) { throw error }
    }
  }

  private func isThere(_ isAlive: Bool) -> Bool {
    guard unsafe vsocfs_mounted_device(path) == device else { return false }
    // Once it is gone, its number may be that of a new mount there, which is not to be taken away.
    return isAlive || MountPoint.isDead(path)
  }

  private func abort() {
    switch abortFile {
    case .some(let file):
      var one = UInt8(ascii: "1")
      _ = unsafe write(file.raw, &one, 1)
    case .none: break
    }
  }
}
