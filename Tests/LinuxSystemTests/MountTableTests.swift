// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import Testing

@Suite struct MountTableTests {
  @Test func `lines of mountinfo`() {
    let table = MountTable(
      parsing: #"""
        22 28 0:21 / /proc rw,nosuid - proc proc rw
        36 35 98:0 /mnt1 /mnt/with\040space\011and\134 rw,noatime master:1 shared:2 - ext3 /dev/root rw
        40 28 0:50 / /mnt/vsoc rw,relatime - fuse.vsocfs a\040source rw,user_id=0
        41 40 0:51 / /a\04 rw - tmpfs - rw

        not a line
        x 1 0:1 / /x rw - tmpfs tmpfs rw
        42 1 0:1 / /y rw shared:1 tmpfs tmpfs rw
        43 1 0:1 / /z rw - tmpfs
        """#)
    #expect(table.entries.map(\.id) == [22, 36, 40, 41])
    #expect(
      table.entries.map(\.mountPoint) == [
        "/proc", "/mnt/with space\tand\\", "/mnt/vsoc", "/a\\04",
      ])
    #expect(
      table.entries.map(\.fileSystemType) == ["proc", "ext3", "fuse.vsocfs", "tmpfs"])
    #expect(table.entries.map(\.source) == ["proc", "/dev/root", "a source", "-"])
  }
}

@Suite struct MountPointTests {
  @Test(
    "directories where nothing of the type is mounted",
    arguments: [
      ("/", "/"), ("/proc", "/proc"), ("/proc/", "/proc"), ("/proc/self/cwd/..//../../..", "/"),
      ("/usr/../proc", "/proc"),
    ])
  func free(path: String, canonical: String) throws {
    #expect(try MountPoint.prepare(path, fileSystemType: "fuse.none") == canonical)
  }

  @Test func `a mount that lives is refused`() {
    let error = #expect(throws: MountPointError.self) {
      try MountPoint.prepare("/proc", fileSystemType: "proc")
    }
    #expect(error?.description == "/proc: proc is mounted there already")
  }

  @Test func `a directory inside a mount is none`() throws {
    #expect(try MountPoint.prepare("/proc/1", fileSystemType: "proc") == "/proc/1")
  }

  @Test(
    "what is no directory",
    arguments: [
      ("/nonexistent", "/nonexistent: No such file or directory"),
      ("/proc/version", "/proc/version: Not a directory"),
      ("", ": No such file or directory"),
    ])
  func unusable(path: String, message: String) {
    let error = #expect(throws: MountPointError.self) {
      try MountPoint.prepare(path, fileSystemType: "proc")
    }
    #expect(error?.description == message)
  }
}
