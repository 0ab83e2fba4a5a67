// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// The manual pages: what they name, and whether they can be rendered.
  @Suite(.enabled(if: Deadline.slowness == 1), OnlyInMode(.pageCache)) struct ManualPages {
    private static let pages = ["mount.vsocfs.8", "vsocfs.5", "vsocfs.8"]

    private static func path(_ page: String) -> String {
      Programs.sources + "/docs/man/" + page
    }

    @Test(arguments: pages) func `render without a complaint`(_ page: String) throws {
      for command in [
        "LC_ALL=C.UTF-8 MANROFFSEQ= MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z \"$0\" > /dev/null",
        "mandoc -Tlint \"$0\"",
      ] {
        let process = try ChildProcess("/bin/sh", ["-c", command, Self.path(page)])
        process.closeInput()
        #expect(try process.rest() == "")
        #expect(try process.wait() == 0)
      }
    }

    /// The tags of a part of a page: names in bold that items begin with.
    private static func tags(_ page: String, from start: String, to end: String) throws -> [String]
    {
      let text = try #require(contents(of: path(page)))
      let lines = text.split(separator: "\n").map(String.init)
      let first = try #require(lines.firstIndex(of: start))
      let last = try #require(lines[first...].firstIndex(of: end))
      let part = lines[first..<last]
      return part.indices.filter { part[$0] == ".TP" || part[$0] == ".TQ" }.flatMap { index in
        let words = part[index + 1].replacing("\\-", with: "-").replacing(",", with: " ")
          .replacing("\"", with: " ").split(separator: " ").dropFirst().map(String.init)
        return part[index + 1].hasPrefix(".B ") || part[index + 1].hasPrefix(".BR ")
          ? words : Array(words.prefix(1))
      }
    }

    @Test func `every key of info and stats`() throws {
      try withMount { mount in
        let machine = try mount.startPython("device.py", ["hold"])
        #expect(try machine.line(within: 20_000) == "ready")
        let info = try mount.read("demo/info") + mount.read("demo/peer/info")
        func keys(_ text: String) -> Set<String> {
          Set(text.split(separator: "\n").map { String($0.prefix { $0 != " " }) })
        }
        #expect(
          try Set(Self.tags("vsocfs.5", from: ".SS info", to: ".SS permissions")) == keys(info))
        #expect(
          try Set(Self.tags("vsocfs.5", from: ".SS .vsocfs/stats", to: ".SH IOCTLS"))
            == keys(mount.read(".vsocfs/stats")))
        machine.kill()
      }
    }

    @Test func `every option of the command`() throws {
      let help = try runDaemon(["--help"]).output
      let shown = help.split { " ,[]<>\n".contains($0) }.filter { $0.hasPrefix("-") }
      let documented = try Self.tags("vsocfs.8", from: ".SH OPTIONS", to: ".SS Mount options")
      #expect(Set(documented) == Set(shown.map(String.init)), "\(help)")
    }

    @Test func `every ioctl of the headers`() throws {
      let documented = try Self.tags("vsocfs.5", from: ".SH IOCTLS", to: ".SH THE LAYOUT FILE")
      let headers = ["vsoc_shm.h", "vsocfs_ioctl.h"].map { name in
        contents(of: Programs.sources + "/Sources/CVsocABI/include/" + name) ?? ""
      }
      let defined = headers.joined().split(separator: "\n").filter { line in
        line.hasPrefix("#define") && line.contains("VSOC_IOCTL_TYPE,")
      }.map { String($0.split(separator: " ")[1]) }
      #expect(Set(documented) == Set(defined))
    }

    /// Each line of an fstab that a page shows can be mounted, as mount(8) finds out without doing it.
    @Test func `lines of fstab`() throws {
      let world = try InstalledWorld()
      try world.write("{ regions: [] }", to: "/etc/vsocfs/layout.json5")
      let page = try #require(contents(of: Self.path("mount.vsocfs.8")))
      let lines = page.replacing("\\-", with: "-").split(separator: "\n")
        .filter { $0.hasPrefix("none /") }
      #expect(lines.count == 4)
      for line in lines {
        let place = line.split(separator: " ")[1]
        try world.write(String(line), to: "/etc/fstab")
        #expect(try world.run("mkdir -p \(place); mount -f \(place)") == "", "\(line)")
      }
    }

    /// What vsocfs(8) gives as examples of itself.
    @Test func `examples`() throws {
      let world = try InstalledWorld()
      try world.write("{ regions: [] }", to: "/etc/vsocfs/layout.json5")
      let page = try #require(contents(of: Self.path("vsocfs.8")))
      let start = try #require(page.firstRange(of: "\n.SH EXAMPLES\n"))
      let commands = page[start.upperBound...].replacing("\\-", with: "-").split(separator: "\n")
        .filter { $0.hasPrefix("vsocfs ") }.map { $0.replacing("/var/lib/", with: "/run/") }
      #expect(commands.count == 3)
      for command in commands {
        let isMount = !command.contains("--check")
        try world.run("cp /etc/vsocfs/layout.json5 /home/root; \(command)")
        #expect(world.mounts().count == (isMount ? 1 : 0), "\(command)")
        if isMount { try world.run("umount /mnt/vsoc") }
      }
      // And those of vsocfs(5), which show the tree in use.
      let tree = try #require(contents(of: Self.path("vsocfs.5")))
      let block = try #require(tree.firstRange(of: "\n.SH EXAMPLES\n.EX\n"))
      let end = try #require(tree[block.upperBound...].firstRange(of: "\n.EE\n"))
      let lines = tree[block.upperBound..<end.lowerBound].replacing("\\-", with: "-")
      #expect(lines.split(separator: "\n").count == 5)
      try world.run(
        """
        vsocfs --region demo /mnt/vsoc; mkdir /mnt/other
        \(lines)
        kill $!; wait $! || :; umount /mnt/other
        test "$(stat -c %a /mnt/vsoc/big/peer/data)" = 600
        until umount /mnt/vsoc 2> /dev/null; do sleep 0.01; done
        """)
      try world.waitUntilEmpty()
    }
  }
}
