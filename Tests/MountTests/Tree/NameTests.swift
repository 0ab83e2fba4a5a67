// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// Which names a region may have, wherever they come from.
  @Suite struct Names {
    static let good = [
      "a", "fifteen-bytes-x", "with space", " lead", "trail ", "ünïcödé", "漢字", "a.b", "a..",
      "-o", "=", "tab\there", "quote\"s", "back\\slash", "%41", "*", "$HOME", "~",
    ]

    @Test(arguments: good)
    func `mkdir takes it`(_ name: String) throws {
      try withMount([]) { mount in
        let client = try mount.client()
        #expect(try client("mkdir", mount(name)) == "0")
        #expect(try client("stat", mount(name + "/peer/data")).contains(" 1048576 "))
        let expected = [".vsocfs", name.replacing("\t", with: "?")].sorted()
        #expect(
          try client("list", mount.mountpoint).replacing("\t", with: "?")
            .split(separator: "/").map(String.init).sorted() == expected)
        #expect(try client("describe", mount(name + "/data")).hasSuffix(" \(name) 0"))
        #expect(try mount.facts(name + "/info")["name"] == name)
        // It comes back from the layout as it is.
        let layout = try mount.read(".vsocfs/layout")
        try withLayout(layout) { other in
          let attributes = try other.once("stat", other(name + "/data"))
          #expect(attributes.contains(" 1048576 "))
          #expect(try other.read(".vsocfs/layout") == layout)
        }
      }
    }

    @Test func `what mkdir refuses`() throws {
      try withMount([]) { mount in
        let client = try mount.client()
        #expect(try client("mkdir", mount("sixteen-bytes-xx")) == "ENAMETOOLONG")
        // Sixteen bytes, though fewer characters.
        #expect(try client("mkdir", mount("漢字漢字漢x")) == "ENAMETOOLONG")
        #expect(try client("mkdir", mount(String(repeating: "x", count: 255))) == "ENAMETOOLONG")
        #expect(try client("mkdir", mount(".hidden")) == "EINVAL")
        #expect(try client("mkdir", mount("...")) == "EINVAL")
        #expect(try client("mkdir", mount(".vsocfs")) == "EEXIST")
        #expect(try client("mkdir", mount(".")) == "EEXIST")
        #expect(try client("mkdir", mount("..")) == "EEXIST")
        #expect(try client("list", mount.mountpoint) == ".vsocfs")
        // Looking for such names is no fault.
        #expect(try client("stat", mount("sixteen-bytes-xx")) == "ENOENT")
        #expect(try client("stat", mount(".hidden")) == "ENOENT")
        #expect(try client("stat", mount(".")).hasPrefix("dir "))
        #expect(try client("stat", mount("..")).hasPrefix("dir "))
      }
    }

    /// Bytes that are no UTF-8 are no name.
    @Test func `mkdir refuses what is no text`() throws {
      try withMount([]) { mount in
        let result = try mount.shell(
          #"""
          name=$(printf 'a\377b')
          mkdir "$M/$name"; ls -a "$M" | wc -l; ls "$M/$name"
          """#)
        #expect(result.output.contains("Invalid argument"))
        #expect(result.lines.contains("3"))
        #expect(result.output.contains("No such file or directory"))
      }
    }

    @Test(arguments: [
      "", ".", "..", ".x", "a/b", "/", "sixteen-bytes-xx", "a:", "a:x", "a:4095", "a:0", "a:-1",
      "a:5G", "a:1M2", ":64K",
    ])
    func `--region refuses it`(_ region: String) throws {
      let directory = try TemporaryDirectory()
      let result = try runDaemon(["-f", "--region", region, directory.path])
      #expect(result.status == 1 || result.status == 64)
      #expect(!result.lines.isEmpty)
      if result.status == 1 {
        #expect(result.lines.count == 1)
        #expect(result.output.hasPrefix("vsocfs: "))
      }
      #expect(!Mounts.contains(directory.path))
    }

    @Test func `--region takes sizes in bytes and units`() throws {
      let regions = ["a:16384", "b:64K", "c:2M", "d", "with space:64K"].flatMap {
        ["--region", $0]
      }
      try withMount(regions) { mount in
        let client = try mount.client()
        for (name, size) in [("a", 16384), ("b", 65536), ("c", 2 << 20), ("d", 1 << 20)] {
          #expect(try client("stat", mount(name + "/data")).contains(" \(size) "))
        }
        #expect(try client("stat", mount("with space/data")).contains(" 65536 "))
      }
    }
  }
}
