// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// The tree and what it is made of.
  @Suite struct Tree {
    @Test func `the files of a mount`() throws {
      try withMount(["--region", "demo", "--region", "more:64K"]) { mount in
        let client = try mount.client()
        #expect(try client("list", mount.mountpoint) == ".vsocfs/demo/more")
        #expect(try client("list", mount(".vsocfs")) == "layout/stats/version")
        #expect(
          try client("list", mount("demo")) == "data/doorbell/info/ivshmem/peer/permissions/signal")
        #expect(try client("list", mount("demo/peer")) == "data/doorbell/info/ivshmem/signal")
        #expect(try client("list", mount("demo/peer/peer")) == "ENOENT")
        #expect(try client("list", mount("other")) == "ENOENT")
        #expect(try client("stat", mount("demo/data/x")) == "ENOTDIR")
      }
    }

    @Test func `proc mounts shows the type`() throws {
      try withMount { mount in
        let entries = Mounts.entries(at: mount.mountpoint)
        #expect(entries.count == 1)
        #expect(entries.first?.prefix(3) == ["vsocfs", mount.mountpoint, "fuse.vsocfs"])
        let options = entries.first?[3].split(separator: ",") ?? []
        #expect(options.contains("allow_other"))
        #expect(options.contains("default_permissions"))
      }
    }

    @Test func `types, modes, owners and sizes`() throws {
      try withMount(["--region", "demo:64K"]) { mount in
        let client = try mount.client()
        func stat(_ path: String) throws -> String {
          // type, mode, uid, gid, size
          try client("stat", mount(path)).split(separator: " ").prefix(5).joined(separator: " ")
        }
        for end in ["demo", "demo/peer"] {
          #expect(try stat(end).hasPrefix("dir 770 0 0 "))
          #expect(try stat(end + "/data") == "file 660 0 0 65536")
          #expect(try stat(end + "/doorbell") == "file 660 0 0 2147479552")
          #expect(try stat(end + "/signal") == "file 660 0 0 2147479552")
          // Read-only facts.
          #expect(try stat(end + "/info").hasSuffix(" 0 0 0"))
        }
        for file in ["version", "layout", "stats"] {
          #expect(try stat(".vsocfs/" + file) == "file 444 0 0 0")
          #expect(try client("open", mount(".vsocfs/" + file), "r") != "")
        }
        #expect(try stat("").hasPrefix("dir "))
      }
    }

    @Test func `inode numbers are unique and stay`() throws {
      try withMount(["--region", "demo", "--region", "more"]) { mount in
        let paths =
          [""]
          + ["demo", "more"].flatMap { region in
            ["", "/data", "/doorbell", "/signal", "/info", "/peer", "/peer/data", "/peer/doorbell"]
              .map { region + $0 }
          } + [".vsocfs", ".vsocfs/version", ".vsocfs/layout", ".vsocfs/stats"]
        func inodes() throws -> [String] {
          let client = try mount.client()
          return try paths.map { path in
            String(try client("stat", mount(path)).split(separator: " ")[5])
          }
        }
        let before = try inodes()
        #expect(Set(before).count == paths.count)
        // The kernel forgets the nodes, and asks again.
        #expect(try mount.shell("echo 2 > /proc/sys/vm/drop_caches").status == 0)
        #expect(try mount.shell("mkdir $M/new; ls -lR $M > /dev/null; rmdir $M/new").status == 0)
        #expect(try inodes() == before)
        // And what a directory says is what stat says.
        let listed = try mount.shell("ls -i $M/demo/data; ls -iU $M/demo").lines
        let inode = String(listed[0].split(separator: " ")[0])
        #expect(
          listed.dropFirst().contains { $0.split(separator: " ") == [Substring(inode), "data"] })
      }
    }

    @Test func `ls -l and find go through it`() throws {
      try withMount { mount in
        let listing = try mount.shell("ls -l $M/demo && ls -ld $M/demo $M/demo/peer")
        #expect(listing.status == 0)
        #expect(listing.output.contains("-rw-rw---- 1 root root    1048576"))
        #expect(listing.output.contains("drwxrwx--- "))
        let found = try mount.shell("find $M | sort; find $M -type f | wc -l")
        #expect(found.status == 0, "\(found.output)")
        // Four files at each end, permissions at one, three facts about the mount.
        #expect(found.lines.last == "12")
        #expect(try mount.shell("find $M/demo -name data -size 1024k | wc -l").lines == ["2"])
      }
    }

    @Test func `info says what there is`() throws {
      try withMount(["--region", "demo:128K"]) { mount in
        for (end, path) in [("guest", "demo/info"), ("host", "demo/peer/info")] {
          let facts = try mount.facts(path)
          #expect(facts["name"] == "demo")
          #expect(facts["end"] == end)
          #expect(facts["index"] == "1")
          #expect(facts["size"] == "131072")
          #expect(facts["mode"] == mount.mode.rawValue)
          #expect(facts["data_offset"] == "8192")
          #expect(facts["managed_by"] == "-")
          #expect(facts["guest_to_host"]?.hasPrefix("6 ") == true)
          #expect(facts["host_to_guest"]?.hasPrefix("6 ") == true)
          #expect(facts["shm_signal_offset"] != nil)
        }
      }
    }

    @Test func `info is a snapshot of the live state`() throws {
      try withMount { mount in
        let client = try mount.client()
        let (guest, host) = ("demo/info", "demo/peer/info")
        #expect(try mount.facts(host)["incoming_interrupt"] == "0")
        let open = try client.open(mount(host), "r")
        #expect(try client("write", mount("demo/doorbell"), "0x2000 0x2004\n") == "14")
        #expect(try client("write", mount("demo/signal"), "1\n") == "2")
        #expect(try mount.facts(host)["incoming_interrupt"] == "1")
        #expect(try mount.facts(host)["incoming_posted"] == "2")
        #expect(try mount.facts(guest)["outgoing_interrupt"] == "1")
        #expect(try mount.facts(guest)["outgoing_posted"] == "2")
        #expect(try mount.facts(guest)["incoming_posted"] == "0")
        #expect(try mount.facts(host)["signal_pending"] == "1")
        #expect(try mount.facts(host)["signal_dirty"] == "1")
        #expect(try mount.facts(host)["signal_count"] == "0")
        #expect(try client("read", mount("demo/peer/signal"), "100") == #"1\n"#)
        #expect(try client("disable", mount("demo/peer/data")) == "0")
        #expect(try mount.facts(host)["signal_count"] == "1")
        #expect(try mount.facts(host)["signal_enabled"] == "0")
        #expect(try mount.facts(guest)["signal_enabled"] == "1")
        // The one that was opened first shows what was then, in pieces as in one.
        var text = ""
        while true {
          let piece = try client("read", open, "7")
          if piece.isEmpty { break }
          text += piece
        }
        #expect(text.contains(#"incoming_interrupt 0\n"#))
        #expect(try client("read", open, "5", "0") == "name ")
        #expect(try client("write", open, "x") == "EBADF")
      }
    }

    @Test func `version and stats`() throws {
      try withMount { mount in
        let version = try mount.read(".vsocfs/version")
        #expect(version.split(separator: "\n").count == 1 && version.hasSuffix("\n"))
        #expect(
          try version.trimmed.contains(
            runDaemon(["--version"]).output.trimmed.split(separator: " ").last ?? "?"))
        let stats = try mount.read(".vsocfs/stats")
        for line in stats.split(separator: "\n") {
          let words = line.split(separator: " ")
          #expect(words.count == 2 && Int(words[1]) != nil, "\(line)")
        }
        #expect(!stats.isEmpty)
      }
    }

    @Test func `nothing else can be made, removed or renamed`() throws {
      try withMount { mount in
        let client = try mount.client()
        #expect(try client("mkdir", mount("demo/x")) == "EPERM")
        #expect(try client("mkdir", mount("demo/peer/x")) == "EPERM")
        #expect(try client("mkdir", mount(".vsocfs/x")) == "EPERM")
        #expect(try client("mkdir", mount("demo/peer")) == "EEXIST")
        #expect(try client("rmdir", mount("demo/peer")) == "EPERM")
        #expect(try client("rmdir", mount(".vsocfs")) == "EPERM")
        #expect(try client("rmdir", mount("demo/data")) == "ENOTDIR")
        for directory in ["", "demo/", "demo/peer/", ".vsocfs/"] {
          #expect(try client("open", mount(directory + "x"), "rw,creat") == "EPERM")
          #expect(try client("mknod", mount(directory + "x")) == "EPERM")
          #expect(try client("symlink", "/tmp", mount(directory + "x")) == "EPERM")
          #expect(try client("link", mount("demo/info"), mount(directory + "x")) == "EPERM")
          #expect(try client("rename", mount("demo/info"), mount(directory + "x")) == "EPERM")
        }
        #expect(try client("rename", mount("demo"), mount("other")) == "EPERM")
        for file in ["demo/data", "demo/peer/signal", "demo/info", ".vsocfs/stats"] {
          #expect(try client("unlink", mount(file)) == "EPERM")
        }
        #expect(
          try client("list", mount("demo")) == "data/doorbell/info/ivshmem/peer/permissions/signal")
      }
    }
  }
}
