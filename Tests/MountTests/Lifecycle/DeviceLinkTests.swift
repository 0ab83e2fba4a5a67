// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// `-o dev_links`, and a system log: in a world whose /dev is the test's own.
  @Suite struct DeviceLinks {
    /// A directory that is /dev for the programs of a script.
    private final class World {
      let directory: TemporaryDirectory

      init() throws {
        directory = try TemporaryDirectory()
        for name in ["/dev", "/mnt"] {
          guard unsafe mkdir(directory.path + name, 0o755) == 0 else {
            throw HarnessError("mkdir: errno \(errno)")
          }
        }
      }

      /// Runs a script, with `$V` for the daemon and `$M` for a mount point, which must say what is
      /// expected, with `M` for the mount point. All mounts are gone with it.
      func expect(
        _ expected: String, from script: String, sourceLocation: SourceLocation = #_sourceLocation
      ) throws {
        let prologue = """
          exec 2>&1
          mknod -m 666 "$W/dev/null" c 1 3 || :
          mknod -m 666 "$W/dev/fuse" c 10 229 || :
          mount --bind "$W/dev" /dev
          M=$W/mnt
          daemon() {
            for p in $(grep -lszxF -- "$M" /proc/[0-9]*/cmdline); do
              grep -qsz '^--ready-descriptor=' "$p" && basename "${p%/cmdline}"
            done || :
          }
          ended() { while test -n "$(daemon)"; do sleep 0.01; done; }
          """
        let process = try ChildProcess(
          "/usr/bin/env",
          ["unshare", "--mount", "sh", "-euc", prologue + "\n" + script],
          environment: [
            "W": directory.path, "V": Programs.daemon,
            "LC_ALL": "C", "O": MountMode.current.arguments.joined(separator: " "),
          ])
        process.closeInput()
        let output = try process.rest().split(
          separator: directory.path + "/mnt", omittingEmptySubsequences: false
        ).joined(separator: "M")
        #expect(try process.wait() == 0, "\(output)", sourceLocation: sourceLocation)
        #expect(output == expected, sourceLocation: sourceLocation)
      }
    }

    @Test func `each region has a link, which comes and goes with it`() throws {
      let world = try World()
      try world.expect(
        "hello\nfuse\nnull\none\ntwo\nfuse\nnull\n",
        from: """
          $V $O -o dev_links --region one --region two $M
          for name in one two; do test "$(readlink /dev/$name)" = $M/$name/data; done
          mkdir $M/three
          printf hello | dd of=/dev/three bs=1 seek=8192 conv=notrunc status=none
          dd if=$M/three/peer/data bs=1 skip=8192 count=5 status=none; echo
          until rmdir $M/three; do sleep 0.01; done
          ls /dev
          umount $M
          ended
          ls /dev
          """)
    }

    @Test func `what has a name already is left alone`() throws {
      let world = try World()
      try world.expect(
        """
        vsocfs: -o dev_links: /dev/null: File exists
        status 1
        vsocfs: -o dev_links: /dev/one: File exists
        status 1
        fuse
        null
        one
        mkdir: cannot create directory 'M/fuse': File exists
        status 1
        one
        elsewhere

        """,
        from: """
          $V $O -o dev_links --region null $M || echo status $?
          ! mountpoint -q $M
          ln -s elsewhere /dev/one
          $V $O -o dev_links --region two --region one $M || echo status $?
          ls /dev; rm /dev/one
          $V $O -o dev_links --region one $M
          mkdir $M/fuse || echo status $?
          ls $M
          ln -sf elsewhere /dev/one
          umount $M
          ended
          readlink /dev/one
          """)
    }

    @Test func `links that a killed daemon left are taken over`() throws {
      let world = try World()
      try world.expect(
        "fuse\nnull\none\ntwo\nfuse\nnull\ntwo\n",
        from: """
          $V $O -o dev_links --region one --region two $M
          kill -9 $(daemon)
          ended
          ls /dev
          $V $O -o dev_links --region one $M
          umount $M
          ended
          ls /dev
          """)
    }

    /// In the background nobody reads what a daemon writes: its lines go where syslog(3) sends them.
    @Test func `a background daemon logs to the system log`() throws {
      let world = try World()
      let socket = unsafe mt_notify_socket(world.directory.path + "/dev/log")
      guard socket >= 0 else { throw HarnessError("log socket: errno \(-socket)") }
      defer { close(socket) }
      try world.expect(
        "",
        from: """
          $V $O -o log_level=info --region one $M
          mkdir $M/two
          umount $M
          ended
          """)
      var lines: [String] = []
      var buffer = [UInt8](repeating: 0, count: 4096)
      while mt_readable(socket, 0) == 1 {
        let count = unsafe recv(socket, &buffer, buffer.count, 0)
        lines.append(String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self))
      }
      let wanted =
        [
          (
            "<29>",
            "mounted at \(world.directory.path)/mnt: \(MountMode.current.rawValue), 1 region"
          )
        ] + (MountMode.current == .pageCache ? [("<29>", "clients of one region must trust")] : [])
        + [
          ("<29>", "keeps CAP_"), ("<30>", "region \"two\" was made"), ("<29>", "unmounted"),
        ]
      try #require(lines.count == wanted.count, "\(lines)")
      for (line, (priority, text)) in zip(lines, wanted) {
        #expect(
          line.hasPrefix(priority) && line.contains(" vsocfs[") && line.contains("]: " + text),
          "\(line)")
      }
    }
  }
}
