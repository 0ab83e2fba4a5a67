// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension MountTests {
  /// The host socket's file: who was there before, and what is left.
  @Suite struct HostSockets {
    @Test(arguments: ["--host-socket", "-o"])
    func `it is there with the mount, and goes with it`(_ option: String) throws {
      try withDirectory { directory in
        let path = directory.path + "/socket"
        let argument = option == "-o" ? "host_socket=" + path : path
        try withMount(["--region", "demo", option, argument]) { mount in
          try mount.python("host_clients.py", "talk", path)
          #expect(exists(path))
        }
        #expect(!exists(path))
      }
    }

    @Test func `the one of a dead daemon makes way`() throws {
      try withDirectory { directory in
        let path = directory.path + "/socket"
        try withMount(["--region", "demo", "--host-socket", path]) { mount in
          _ = mount.process.kill()
        }
        #expect(exists(path))
        try withMount(["--region", "demo", "--host-socket", path]) { mount in
          try mount.python("host_clients.py", "talk", path)
        }
        #expect(!exists(path))
      }
    }

    /// What somebody has put in its place is his.
    @Test func `another file is left alone at the end`() throws {
      try withDirectory { directory in
        let path = directory.path + "/socket"
        try withMount(["--region", "demo", "--host-socket", path]) { mount in
          #expect(unsafe unlink(path) == 0)
          try createFile(path, "mine")
        }
        #expect(contents(of: path) == "mine")
      }
    }

    /// What is in the way of a socket.
    enum Obstacle: String, CaseIterable, CustomTestStringConvertible {
      case file, directory, link, listener, missing, long

      var testDescription: String { rawValue }
    }

    @Test(arguments: Obstacle.allCases)
    func `a place where it cannot be is told`(_ obstacle: Obstacle) throws {
      try withDirectory { directory in
        var path = directory.path + "/socket"
        let mountpoint = directory.path + "/other"
        #expect(unsafe mkdir(mountpoint, 0o755) == 0)
        func expectRefusal() throws {
          let result = try runDaemon(
            MountMode.current.arguments + ["--region", "demo", "--host-socket", path, mountpoint])
          #expect(result.status != 0)
          #expect(result.lines.count == 1, "\(result.output)")
          #expect(result.output.contains(path), "\(result.output)")
          #expect(!Mounts.contains(mountpoint))
          #expect(Proc.processes(withLastArgument: mountpoint).isEmpty)
        }
        switch obstacle {
        case .file:
          try createFile(path, "mine")
          try expectRefusal()
          #expect(contents(of: path) == "mine")
        case .directory:
          #expect(unsafe mkdir(path, 0o755) == 0)
          try expectRefusal()
          #expect(exists(path))
        case .link:
          #expect(unsafe symlink("nowhere", path) == 0)
          try expectRefusal()
          #expect(names(in: directory.path).contains("socket"))
        case .listener:
          try withMount(["--region", "demo", "--host-socket", path]) { mount in
            try expectRefusal()
            try mount.python("host_clients.py", "talk", path)
          }
        case .missing:
          path = directory.path + "/missing/socket"
          try expectRefusal()
        case .long:
          path += String(repeating: "x", count: 100)
          try expectRefusal()
          #expect(!exists(path))
        }
      }
    }

    /// It is taken from where the daemon was started, and found again at the end.
    @Test func `a relative path`() throws {
      try withDirectory { directory in
        let mountpoint = directory.path + "/mnt"
        #expect(unsafe mkdir(mountpoint, 0o755) == 0)
        let shell = try ChildProcess(
          "/bin/sh",
          ["-c", "cd \(directory.path) && exec \(Programs.daemon) --host-socket here mnt"])
        #expect(try shell.rest() == "")
        #expect(try shell.wait() == 0)
        #expect(exists(directory.path + "/here"))
        let umount = try ChildProcess("/usr/bin/env", ["umount", mountpoint])
        #expect(try umount.wait() == 0)
        try eventually("the socket is gone") { !exists(directory.path + "/here") }
      }
    }
  }
}
