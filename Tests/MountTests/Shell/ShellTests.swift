// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension MountTests {
  /// The streams as a shell uses them.
  @Suite struct Shell {
    @Test func `echo and read`() throws {
      try withMount { mount in
        let reader = try mount.startShell(
          "exec < $M/demo/peer/doorbell; echo ready; read a; read b; echo got $a $b")
        #expect(try reader.line() == "ready")
        #expect(try mount.shell("echo 0x2000 > $M/demo/doorbell").status == 0)
        try eventually("the first offset is taken") {
          try mount.facts("demo/info")["outgoing_posted"] == "0"
        }
        #expect(try mount.shell("echo 8196 > $M/demo/doorbell").status == 0)
        #expect(try reader.line() == "got 0x00002000 0x00002004")
        #expect(try reader.wait() == 0)
      }
    }

    /// `read` takes one byte at a time; several lines wait for it.
    @Test func `a loop over lines`() throws {
      try withMount { mount in
        let result = try mount.shell(
          """
          exec 3< $M/demo/peer/doorbell
          echo 0x2000 0x2004 0x2008 > $M/demo/doorbell
          for i in 1 2 3; do read line <&3 || exit 1; echo "$line"; done | sort
          """)
        #expect(result.status == 0)
        #expect(result.lines == ["0x00002000", "0x00002004", "0x00002008"])
      }
    }

    @Test func `echo without arguments rings`() throws {
      try withMount { mount in
        let result = try mount.shell(
          """
          exec 3< $M/demo/peer/doorbell
          echo > $M/demo/doorbell && read line <&3 && echo "$line"
          echo 0 >> $M/demo/doorbell && read line <&3 && echo "$line"
          printf '' > $M/demo/doorbell && echo nothing
          """)
        #expect(result.lines == ["0x00000000", "0x00000000", "nothing"])
        #expect(result.status == 0)
      }
    }

    @Test func `mistakes are reported by echo`() throws {
      try withMount { mount in
        let result = try mount.shell(
          """
          export LC_ALL=C
          echo nonsense > $M/demo/doorbell || echo failed
          echo 0x2002 > $M/demo/doorbell || echo failed
          echo 0x100000 > $M/demo/doorbell || echo failed
          echo maybe > $M/demo/signal || echo failed
          cat $M/demo/nothing || echo failed
          """)
        #expect(result.lines.filter { $0 == "failed" }.count == 5, "\(result.output)")
      }
    }

    @Test func `signal counts, and is masked`() throws {
      try withMount { mount in
        let result = try mount.shell(
          """
          exec 3< $M/demo/peer/signal
          for i in 1 2 3; do
            echo inject > $M/demo/signal
            read count <&3
            echo $count
          done
          echo disable > $M/demo/peer/signal
          echo 1 > $M/demo/signal
          dd if=$M/demo/peer/signal iflag=nonblock count=1 status=none 2> /dev/null || echo masked
          echo enable > $M/demo/peer/signal
          read count <&3 && echo $count
          """)
        #expect(result.lines == ["1", "2", "3", "masked", "4"], "\(result.output)")
        #expect(result.status == 0)
      }
    }

    @Test func `head and timeout and kill`() throws {
      try withMount { mount in
        let result = try mount.shell(
          """
          timeout 0.2 cat $M/demo/doorbell; echo $?
          timeout 0.2 head -n 1 $M/demo/signal; echo $?
          (timeout -s KILL 0.2 cat $M/demo/doorbell; echo $?) 2> /dev/null
          # Opened first: a handle that was killed may still be there and take in what comes.
          exec 3< $M/demo/doorbell; echo 0x2000 > $M/demo/peer/doorbell
          # head says that it cannot put back what it has read too much.
          timeout 10 head -n 1 <&3 2> /dev/null
          """)
        #expect(result.lines == ["124", "124", "137", "0x00002000"], "\(result.output)")
      }
    }

    /// A full table must not stop a script for ever that only appends.
    @Test func `appending to a full table fails`() throws {
      try withLayout(#"{ regions: [{ name: "demo", nodes_lg2: 0 }] }"#) { mount in
        let result = try mount.shell(
          """
          echo 0x2000 >> $M/demo/doorbell && echo one
          echo 0x2004 >> $M/demo/doorbell || echo full
          head -n 1 $M/demo/peer/doorbell 2> /dev/null
          echo 0x2004 >> $M/demo/doorbell && echo two
          """)
        #expect(result.lines.contains("full"))
        #expect(
          result.lines.filter { !$0.contains(":") } == ["one", "full", "0x00002000", "two"])
      }
    }

    @Test func `cat, cmp, dd and cp of data`() throws {
      try withMount(["--region", "demo:256K"]) { mount in
        let result = try mount.shell(
          """
          set -e
          T=$(mktemp -d); trap 'rm -r $T' EXIT
          head -c 65536 /dev/urandom > $T/random
          dd if=$T/random of=$M/demo/data bs=4096 seek=4 conv=notrunc status=none
          dd if=$M/demo/peer/data bs=4096 skip=4 count=16 status=none | cmp - $T/random
          cp $M/demo/data $T/copy
          cmp $T/copy $M/demo/peer/data
          stat -c %s $T/copy
          """)
        #expect(result.output == "262144\n")
        #expect(result.status == 0)
      }
    }

    /// A shell waits for one end while another answers, as two scripts would.
    @Test func `two scripts talk`() throws {
      try withMount { mount in
        let server = try mount.startShell(
          """
          exec < $M/demo/peer/doorbell; echo ready
          while read offset; do
            case $offset in
            0x00000000) ;;
            0x00002ffc) echo bye; exit 0 ;;
            *) echo $offset > $M/demo/peer/doorbell ;;
            esac
          done
          """)
        #expect(try server.line() == "ready")
        let client = try mount.shell(
          """
          exec 3< $M/demo/doorbell
          for i in 0 1 2 3 4 5 6 7 8 9; do
            echo $((0x2000 + i * 4)) > $M/demo/doorbell
            while read answer <&3 && [ $answer = 0x00000000 ]; do :; done
            echo $answer
          done
          echo 0x2ffc > $M/demo/doorbell
          """)
        #expect(client.status == 0)
        #expect(
          client.lines == [
            "0x00002000", "0x00002004", "0x00002008", "0x0000200c", "0x00002010", "0x00002014",
            "0x00002018", "0x0000201c", "0x00002020", "0x00002024",
          ])
        #expect(try server.line() == "bye")
        #expect(try server.wait() == 0)
      }
    }
  }
}
