// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSystem
import Testing

/// Files that are opened only in the file system that they are meant to be in.
@Suite struct MountedFileTests {
  /// /dev/shm is a file system without a device.
  private let directory = "/dev/shm"
  private let name = "vsocfs-test-\(getpid())"

  @Test func `A file is opened in the file system of the number, and in no other`() throws {
    let path = "\(directory)/\(name)"
    let file = unsafe fopen(path, "w")
    try #require(unsafe file != nil)
    defer {
      unsafe fclose(file!)
      unsafe unlink(path)
    }
    let device = unsafe vsocfs_mounted_device(directory)
    try #require(device >= 0)
    let descriptor = unsafe vsocfs_open_mounted(directory, device, name)
    #expect(descriptor >= 0)
    close(descriptor)
    #expect(unsafe vsocfs_open_mounted(directory, device + 1, name) == -ENODEV)
    #expect(unsafe vsocfs_open_mounted("/proc", device, "self/mem") == -ENODEV)
    #expect(unsafe vsocfs_open_mounted(directory, device, "\(name)x") == -ENOENT)
    #expect(unsafe vsocfs_open_mounted("/nonexistent", device, name) == -ENOENT)
    #expect(unsafe vsocfs_open_mounted(path, device, "x") == -ENOTDIR)
  }

  @Test func `A link in the place of either is not followed`() throws {
    let device = unsafe vsocfs_mounted_device(directory)
    let link = "\(directory)/\(name)-link"
    try #require(unsafe symlink("/dev/null", link) == 0)
    defer { unsafe unlink(link) }
    #expect(unsafe vsocfs_open_mounted(directory, device, "\(name)-link") == -ELOOP)
    #expect(unsafe vsocfs_open_mounted(link, device, "x") == -ENOTDIR)
  }
}
