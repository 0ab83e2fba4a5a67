// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// How the daemon starts, or says why it does not.
  @Suite struct Starting {
    @Test func `--help and --version`() throws {
      let help = try runDaemon(["--help"])
      #expect(help.status == 0)
      for word in ["--layout", "--region", "MOUNTPOINT", "-f", "-o"] {
        #expect(help.output.uppercased().contains(word.uppercased()), "\(word)")
      }
      let version = try runDaemon(["--version"])
      #expect(version.status == 0 && version.lines.count == 1)
    }

    /// One line, status 1, nothing mounted.
    private func expectRefusal(
      _ arguments: [String], at mountpoint: String, mentioning words: [String] = [],
      usage: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      for foreground in [["-f"], []] {
        let result = try runDaemon(foreground + arguments + [mountpoint])
        if result.status != 64 || !usage {
          #expect(result.status == 1, sourceLocation: sourceLocation)
          #expect(
            result.lines.count == 1 && result.output.hasPrefix("vsocfs: "), "\(result.output)",
            sourceLocation: sourceLocation)
        }
        for word in words {
          #expect(
            result.output.contains(word), "no \(word) in: \(result.output)",
            sourceLocation: sourceLocation)
        }
        #expect(!Mounts.contains(mountpoint), sourceLocation: sourceLocation)
        #expect(
          Proc.processes(withLastArgument: mountpoint).isEmpty, sourceLocation: sourceLocation)
        unsafe mt_umount_detach(mountpoint)
      }
    }

    @Test func `a mountpoint that is no directory`() throws {
      let directory = try TemporaryDirectory()
      try expectRefusal([], at: directory.path + "/missing", mentioning: ["missing"])
      try createFile(directory.path + "/file", "")
      try expectRefusal([], at: directory.path + "/file", mentioning: ["file"])
    }

    @Test(arguments: [
      "bogus", "size", "size=", "size=x", "passthrough=maybe", "mode=999", "uid=x",
      "store=/tmp", "host_socket=",
    ])
    func `bad mount options`(_ option: String) throws {
      let directory = try TemporaryDirectory()
      let key = String(option.prefix { $0 != "=" })
      try expectRefusal(["-o", option], at: directory.path, mentioning: [key], usage: true)
    }

    @Test func `regions that do not fit under the cap`() throws {
      let directory = try TemporaryDirectory()
      try expectRefusal(["-o", "size=1M", "--region", "a", "--region", "b"], at: directory.path)
    }

    @Test func `the same region twice`() throws {
      let directory = try TemporaryDirectory()
      try expectRefusal(
        ["--region", "twin", "--region", "twin"], at: directory.path,
        mentioning: ["twin"], usage: true)
    }

    @Test(arguments: [
      ("{ regions: [{ name: \"a\", colour: 1 }] }", "colour"),
      ("{ regions: [{ name: \"a\" }, { name: \"a\" }] }", "name"),
      ("{ regions: [{ name: \"a\", size: \"5000\" }] }", "size"),
      ("{ regions: [{ name: \"a\", size: \"64K\", nodes_lg2: 14 }] }", "nodes_lg2"),
      ("{ regions: [{ name: \"a\", managed_by: \"nobody\" }] }", "managed_by"),
      ("{ regions: [{ name: \"a\", managed_by: \"a\" }] }", "managed_by"),
      ("{ regions: [{ name: \".a\" }] }", "name"),
      ("{ regions: [{ name: \"a\", mode: \"9\" }] }", "mode"),
      ("{ regions: [", "layout.json5"), ("[]", "layout.json5"), ("", "layout.json5"),
    ])
    func `mistakes in a layout file`(_ text: String, _ key: String) throws {
      let directory = try TemporaryDirectory()
      let layout = directory.path + "/layout.json5"
      try createFile(layout, text)
      let mountpoint = directory.path + "/mnt"
      unsafe mkdir(mountpoint, 0o755)
      try expectRefusal(["--layout", layout], at: mountpoint, mentioning: ["layout.json5", key])
      try expectRefusal(
        ["-o", "layout=" + layout], at: mountpoint, mentioning: ["layout.json5", key])
    }

    @Test func `a layout file that is not there`() throws {
      let directory = try TemporaryDirectory()
      let layout = directory.path + "/none.json5"
      try expectRefusal(["--layout", layout], at: directory.path, mentioning: ["none.json5"])
      // A directory is no file either.
      try expectRefusal(["--layout", directory.path], at: directory.path)
    }

    @Test func `the layout of a mount makes the same mount`() throws {
      let text = """
        { // with a comment, and what JSON5 allows
          regions: [
            { name: "manager", size: "64K" },
            { name: 'with space', size: 16777216, mode: "0600", },
            { name: "input", size: "1M", nodes_lg2: { guest_to_host: 4, host_to_guest: 10 },
              current_version: 2, min_compatible_version: 1,
              uid: 0, gid: 1000, mode: "0660", peer: { uid: 0, gid: 0, mode: "0600" } },
            { name: "buffers", size: "16M", managed_by: "manager" },
          ],
        }
        """
      let layout = try withLayout(text) { mount in
        let client = try mount.client()
        // What is changed at run time is part of it.
        #expect(try client("mkdir", mount("late"), "0700") == "0")
        #expect(try client("truncate", mount("late/data"), "65536") == "0")
        #expect(try client("chmod", mount("manager/peer"), "0664") == "0")
        #expect(try client("chown", mount("manager"), "12", "34") == "0")
        return try mount.read(".vsocfs/layout")
      }
      try withLayout(layout) { mount in
        #expect(try mount.read(".vsocfs/layout") == layout)
        let client = try mount.client()
        #expect(try client("stat", mount("late/data")).hasPrefix("file 600 0 0 65536 "))
        #expect(try client("stat", mount("manager/data")).hasPrefix("file 660 12 34 65536 "))
        #expect(try client("stat", mount("manager/peer/data")).hasPrefix("file 664 0 0 65536 "))
        #expect(try client("stat", mount("with space/data")).hasPrefix("file 600 0 0 16777216 "))
        #expect(try client("stat", mount("input/data")).hasPrefix("file 660 0 1000 1048576 "))
        #expect(try client("describe", mount("input/data")).hasPrefix("2 1 0 1048576 "))
        #expect(try mount.facts("input/info")["host_to_guest"]?.hasPrefix("10 ") == true)
        #expect(try mount.facts("buffers/info")["managed_by"] == "manager")
        // Memory that needs a permission.
        let managed = try client.open(mount("buffers/data"))
        #expect(try client("read", managed, "10", "0") == "")
      }
    }

    @Test func `options are given in many ways`() throws {
      let directory = try TemporaryDirectory()
      let layout = directory.path + "/layout.json5"
      try createFile(layout, #"{ regions: [{ name: "file" }] }"#)
      try withMount([
        "-o", "layout=\(layout),region=one:64K,nosuid,nodev", "-onoexec",
        "-o", "region=two:128K,passthrough=auto", "--region", "three",
      ]) { mount in
        let names = try mount.once("list", mount.mountpoint)
        #expect(names == ".vsocfs/file/one/three/two")
        let options = Mounts.entries(at: mount.mountpoint)[0][3].split(separator: ",")
        for option in ["nosuid", "nodev", "noexec", "rw"] {
          #expect(options.contains(Substring(option)))
        }
      }
    }

    /// The daemon writes through the mount where the page cache is the memory.
    @Test func `a read-only mount needs passthrough`() throws {
      guard MountMode.current == .pageCache else { return }
      let directory = try TemporaryDirectory()
      try expectRefusal(
        ["-o", "ro,passthrough=off"], at: directory.path, mentioning: ["ro", "passthrough"])
    }

    @Test func `a read-only mount`() throws {
      guard MountMode.current == .passthrough else { return }
      try withMount(["-o", "ro", "--region", "demo"]) { mount in
        let client = try mount.client()
        #expect(try client("mkdir", mount("new")) == "EROFS")
        #expect(try client("open", mount("demo/data")) == "EROFS")
        #expect(try client("describe", client.open(mount("demo/data"), "r")).contains("demo"))
      }
    }

    @Test func `-d logs requests`() throws {
      try withMount(["-d", "--region", "demo"]) { mount in
        mount.expectedLogLines = [""]
        _ = try mount.once("mkdir", mount("new-region"))
        #expect(!mount.log.isEmpty)
      }
    }
  }
}
