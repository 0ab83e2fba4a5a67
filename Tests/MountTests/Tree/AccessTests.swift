// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// Owners and modes, and what they allow others.
  @Suite struct Access {
    private static let nobody = "65534"

    /// A client that is nobody.
    private func nobody(_ mount: MountedDaemon) throws -> Client {
      let client = try mount.client()
      #expect(try client("setuid", Self.nobody, Self.nobody) == "0")
      return client
    }

    @Test func `modes refuse and admit others`() throws {
      try withMount { mount in
        let (root, other) = try (mount.client(), nobody(mount))
        #expect(try other("list", mount.mountpoint) == ".vsocfs/demo")
        #expect(try !other("read", other.open(mount(".vsocfs/layout"), "r"), "100").isEmpty)
        for path in ["demo", "demo/peer"] { #expect(try other("list", mount(path)) == "EACCES") }
        for file in ["data", "doorbell", "signal", "info"] {
          #expect(try other("open", mount("demo/" + file), "r") == "EACCES")
          #expect(try other("open", mount("demo/peer/" + file), "r") == "EACCES")
        }
        // The guest end is opened; the host end inside it has modes of its own.
        #expect(try root("chmod", mount("demo"), "0777") == "0")
        for file in ["data", "doorbell", "signal"] {
          #expect(try other("stat", mount("demo/" + file)).hasPrefix("file 666 0 0 "))
          let fd = try other.open(mount("demo/" + file))
          #expect(try other("close", fd) == "0")
        }
        #expect(try other("open", mount("demo/peer/data"), "r") == "EACCES")
        #expect(try other("maybe", other.open(mount("demo/data"))) == "0")
        // A file's mode is the whole end's.
        #expect(try root("chmod", mount("demo/peer/signal"), "0644") == "0")
        #expect(try other("stat", mount("demo/peer")).hasPrefix("dir 755 0 0 "))
        #expect(try other("stat", mount("demo/peer/data")).hasPrefix("file 644 0 0 "))
        #expect(try other("open", mount("demo/peer/data"), "r") != "EACCES")
        #expect(try other("open", mount("demo/peer/data"), "rw") == "EACCES")
        #expect(try other("open", mount("demo/peer/doorbell"), "w") == "EACCES")
        #expect(try root("chmod", mount("demo/data"), "0") == "0")
        #expect(try other("list", mount("demo")) == "EACCES")
        #expect(try other("open", mount("demo/data"), "r") == "EACCES")
      }
    }

    @Test func `owners go with the end`() throws {
      try withMount { mount in
        let (root, other) = try (mount.client(), nobody(mount))
        #expect(try root("chown", mount("demo/info"), Self.nobody, "-1") == "0")
        for path in ["demo", "demo/data", "demo/signal", "demo/info"] {
          let fields = try root("stat", mount(path)).split(separator: " ")
          #expect(fields[2] == Self.nobody && fields[3] == "0", "\(path)")
        }
        #expect(try root("stat", mount("demo/peer")).hasPrefix("dir 770 0 0 "))
        let data = try other.open(mount("demo/data"))
        #expect(try other("maybe", data) == "0")
        // The owner may change the mode, nobody else; giving it away is root's.
        #expect(try other("chmod", mount("demo"), "0700") == "0")
        #expect(try root("stat", mount("demo/data")).hasPrefix("file 600 \(Self.nobody) 0 "))
        #expect(try other("chown", mount("demo"), "0", "-1") == "EPERM")
        #expect(try other("chmod", mount("demo/peer"), "0777") == "EPERM")
        #expect(try root("chown", mount("demo/peer"), "-1", Self.nobody) == "0")
        #expect(try other("open", mount("demo/peer/data")) != "EACCES")
        #expect(
          try root("stat", mount("demo/peer/doorbell")).hasPrefix("file 660 0 \(Self.nobody) "))
      }
    }

    @Test func `others make and remove regions only where they may`() throws {
      try withMount { mount in
        let (root, other) = try (mount.client(), nobody(mount))
        #expect(try other("mkdir", mount("mine")) == "EACCES")
        #expect(try other("rmdir", mount("demo")) == "EACCES")
        #expect(try other("chmod", mount.mountpoint, "0777") == "EPERM")
        #expect(try other("truncate", mount("demo/data"), "65536") == "EACCES")
        #expect(try root("stat", mount("demo/data")).contains(" 1048576 "))
      }
    }

    /// Other bits than read and write mean nothing on a file, and a directory's x follows r.
    @Test func `modes that cannot be kept are refused`() throws {
      try withMount { mount in
        let client = try mount.client()
        for (path, mode) in [
          ("demo/data", "07777"), ("demo/data", "0700"), ("demo", "0621"), ("demo", "0711"),
          ("demo", "01770"), ("demo/peer", "0611"), ("", "02755"),
        ] {
          #expect(try client("chmod", mount(path), mode) == "EPERM", "\(path) \(mode)")
        }
        #expect(try client("stat", mount("demo")).hasPrefix("dir 770 "))
        #expect(try client("chmod", mount("demo"), "0720") == "0")
        #expect(try client("stat", mount("demo/data")).hasPrefix("file 620 "))
        #expect(try client("mkdir", mount("other"), "0711") == "EPERM")
        #expect(try client("stat", mount("other")) == "ENOENT")
      }
    }

    @Test func `in a sticky root nobody removes what is another's`() throws {
      try withMount { mount in
        #expect(try mount.client()("chmod", mount.mountpoint, "01777") == "0")
        #expect(try mount.client()("stat", mount.mountpoint).hasPrefix("dir 1777 "))
        let owner = Client(try ChildProcess(Programs.client, [], as: .victim))
        let other = Client(try ChildProcess(Programs.client, [], as: .attacker))
        #expect(try owner("mkdir", mount("mine")) == "0")
        #expect(try other("rmdir", mount("mine")) == "EPERM")
        #expect(try other("rmdir", mount("demo")) == "EPERM")
        #expect(try owner("rmdir", mount("mine")) == "0")
        for client in [owner, other] { client.kill() }
      }
    }

    @Test func `the layout gives owners and modes`() throws {
      let layout = """
        { regions: [{ name: "demo", uid: 65534, gid: 7, mode: "0640",
          peer: { uid: 3, gid: 65534, mode: "0060" } }] }
        """
      try withLayout(layout) { mount in
        let other = try nobody(mount)
        #expect(try other("stat", mount("demo")).hasPrefix("dir 750 65534 7 "))
        #expect(try other("stat", mount("demo/data")).hasPrefix("file 640 65534 7 "))
        #expect(try other("stat", mount("demo/peer")).hasPrefix("dir 70 3 65534 "))
        #expect(try other("stat", mount("demo/peer/data")).hasPrefix("file 60 3 65534 "))
        #expect(try other("maybe", other.open(mount("demo/data"))) == "0")
        #expect(try other("maybe", other.open(mount("demo/peer/data"))) == "0")
      }
    }

    @Test func `uid, gid and mode are options`() throws {
      try withMount(["-o", "uid=65534,gid=12,mode=0604", "--region", "demo"]) { mount in
        let other = try nobody(mount)
        #expect(try other("stat", mount("demo/data")).hasPrefix("file 604 65534 12 "))
        #expect(try other("maybe", other.open(mount("demo/data"))) == "0")
      }
    }

    @Test func `a mount that is not for others is not for others`() throws {
      try withMount(["-o", "noallow_other", "--region", "demo"]) { mount in
        let (root, other) = try (mount.client(), nobody(mount))
        #expect(try root("list", mount.mountpoint) == ".vsocfs/demo")
        #expect(try other("list", mount.mountpoint) == "EACCES")
      }
    }

    /// What is open already stays open: modes are looked at when a file is opened.
    @Test func `a handle survives the loss of its mode`() throws {
      try withMount { mount in
        let (root, other) = try (mount.client(), nobody(mount))
        #expect(try root("chmod", mount("demo"), "0777") == "0")
        let data = try other.open(mount("demo/data"))
        #expect(try root("chmod", mount("demo"), "0700") == "0")
        #expect(try other("maybe", data) == "0")
        #expect(try other("open", mount("demo/data")) == "EACCES")
      }
    }
  }
}
