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

    @Test func `Wrong usage is said in one line`() throws {
      let directory = try TemporaryDirectory()
      let ask = try Programs.compiledExample("ask", in: directory)
      for program in [ask, Programs.example("answer.py"), Programs.example("watch.sh")] {
        let process = try ChildProcess(program, [])
        process.closeInput()
        _ = try process.rest()
        #expect(try process.wait() != 0)
      }
    }
  }
}
