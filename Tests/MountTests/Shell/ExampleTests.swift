// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension MountTests {
  /// The programs in docs/examples, against one another.
  @Suite struct Examples {
    @Test func `ask, answer and watch`() throws {
      let directory = try TemporaryDirectory()
      let ask = try Programs.compiledExample("ask", in: directory)
      try withMount { mount in
        let answer = try ChildProcess(Programs.example("answer.py"), [mount("demo")])
        #expect(try answer.line() == "ready")
        let watch = try ChildProcess(Programs.example("watch.sh"), [mount("demo"), "3"])
        #expect(try watch.line() == "ready")

        for (question, square) in [(12, 144), (7, 49)] {
          let asking = try ChildProcess(ask, [mount("demo"), "\(question)"])
          #expect(try asking.line() == "\(square)")
          #expect(try asking.wait() == 0)
          #expect(try answer.line() == "\(question) -> \(square)")
          #expect(try watch.line() == "posted 0x00002000")
        }
        #expect(try mount.shell("echo > $M/demo/doorbell").status == 0)
        #expect(try watch.line() == "ring")
        #expect(try watch.wait() == 0)
        // The watcher has signalled the guest end for each.
        #expect(try mount.facts("demo/info")["signal_dirty"] == "1")

        answer.signal(SIGINT)
        #expect(try answer.wait() == 0)
      }
    }

    @Test func `allocate, and with-area`() throws {
      let directory = try TemporaryDirectory()
      let allocate = try Programs.compiledExample("allocate", in: directory)
      let layout = directory.path + "/layout.json5"
      try createFile(
        layout,
        """
        { regions: [{ name: "manager", size: "64K" },
          { name: "buffers", size: "256K", managed_by: "manager" }] }
        """)
      try withMount(["--layout", layout]) { mount in
        let allocating = "'\(allocate)' $M/manager $M/buffers"
        func withArea(_ area: String, _ command: String) throws -> ScriptResult {
          try mount.shell(
            "'\(Programs.example("with-area.sh"))' $M/buffers \(area) sh -c '\(command)'")
        }
        #expect(try mount.shell(allocating + " hello").output == "0x2000-0x12000: hello\n")
        let before = try withArea("0x2000 0x3000 0x2000 7", "printf \"new\\n\" >&3; exit 5")
        #expect(before.status == 5 && before.output == "")
        #expect(try mount.read("buffers/permissions") == "")
        let after = try withArea("0x2000 0x4000 0x2008 7", "head -n 1 <&3")
        #expect(after.status == 0 && after.output == "new\n")
        // An area that somebody has is left alone.
        let client = try mount.client()
        let held = try client.open(mount("buffers/permissions"))
        #expect(try client("write", held, "claim 0x2000 0x3000 0x2000 7") == "28")
        #expect(try mount.shell(allocating + " next").output == "0x12000-0x22000: next\n")
        let refused = try withArea("0x2000 0x3000 0x2004 7", "echo never")
        #expect(refused.status == 1)
        #expect(refused.output.contains("0x00002000 0x00003000 0x00002000 0x00000007 "))
        #expect(!refused.output.contains("never"))
      }
    }

    /// What a guest does is done here by a shell.
    @Test func `vm-host`() throws {
      try withMount { mount in
        let host = try ChildProcess(Programs.example("vm-host.sh"), [mount("demo"), "2"])
        #expect(try host.line() == "ready")
        for (offset, question, square) in [
          (0x2000, #"\a\0\0\0"#, "7 -> 49"), (0x3004, #"\1\0\1\0"#, "65537 -> 131073"),
        ] {
          let asking = try mount.shell(
            """
            exec 3< $M/demo/doorbell
            printf '\(question)' | dd of=$M/demo/data bs=4 seek=\(offset / 4) conv=notrunc status=none
            echo \(offset) > $M/demo/doorbell
            read answer <&3 && echo $((answer))
            dd if=$M/demo/data bs=4 skip=\(offset / 4 + 1) count=1 status=none | od -A n -t u4
            """)
          #expect(asking.status == 0)
          let lines = asking.lines
          #expect(lines.count == 2 && lines.first == "\(offset + 4)")
          #expect(try host.line() == square)
          #expect(lines.last?.split(separator: " ").last == square.split(separator: " ").last)
        }
        #expect(try host.wait() == 0)
      }
    }

    @Test func `Wrong usage is said in one line`() throws {
      let directory = try TemporaryDirectory()
      let ask = try Programs.compiledExample("ask", in: directory)
      let allocate = try Programs.compiledExample("allocate", in: directory)
      let guest = try Programs.compiledExample("vm-guest", in: directory)
      let scripts = ["answer.py", "vm-host.sh", "watch.sh", "with-area.sh"].map(Programs.example)
      for program in [ask, allocate, guest] + scripts {
        let process = try ChildProcess(program, [])
        process.closeInput()
        _ = try process.rest()
        #expect(try process.wait() != 0)
      }
    }
  }
}
