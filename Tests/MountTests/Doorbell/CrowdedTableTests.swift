// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// Others at a doorbell where somebody waits for room, or where somebody does not read.
  @Suite struct CrowdedTables {
    /// How a writer that waits for room has opened the file, and how much it writes.
    struct Writer: CustomTestStringConvertible {
      let testDescription: String
      let flags: String
      let text: String

      static let all = [
        Writer(testDescription: "plain", flags: "w", text: "0x2004\n"),
        Writer(testDescription: "as the shell's >", flags: "w,trunc", text: "0x2004\n"),
        Writer(
          testDescription: "a long text", flags: "w",
          text: "0x2004" + String(repeating: " ", count: 6000) + "\n"),
      ]
    }

    /// The kernel may hold a lock of the file for the one who waits: not one that others need.
    @Test(arguments: Writer.all)
    func `a blocked writer holds up nobody else`(_ writer: Writer) throws {
      try withLayout(#"{ regions: [{ name: "demo", size: "64K", nodes_lg2: 0 }] }"#) { mount in
        let (blocked, other, host) = try (mount.client(), mount.client(), mount.client())
        let bell = try other.open(mount("demo/doorbell"), "rw,nonblock")
        #expect(try other("write", bell, "0x2000\n") == "7")
        try blocked.send(
          "write", blocked.open(mount("demo/doorbell"), writer.flags), writer.text)
        try blocked.waitUntilBlocked()
        let deadline = 3000
        #expect(try other("stat", mount("demo/doorbell"), within: deadline).hasPrefix("file"))
        #expect(try other("read", bell, "100", within: deadline) == "EAGAIN")
        // First: if it hangs, nothing that comes later can be told from it.
        #expect(try other("write", bell, "0x2008\n", within: deadline) == "EAGAIN")
        #expect(try other("write", bell, "0\n", within: deadline) == "2")
        #expect(try other("write", bell, "nonsense\n", within: deadline) == "EINVAL")
        #expect(try !blocked.hasReplied)
        let receiver = try host.open(mount("demo/peer/doorbell"))
        #expect(try host("read", receiver, "100").contains("0x00002000"))
        #expect(try blocked.reply() == "\(writer.text.utf8.count)")
      }
    }

    /// Each handle of an end has a view of its own, the ioctl's as well.
    @Test func `drains of several handles see every offset`() throws {
      try withMount { mount in
        let client = try mount.client()
        let sender = try client.open(mount("demo/data"))
        let first = try client.open(mount("demo/peer/data"))
        let second = try client.open(mount("demo/peer/data"))
        let bell = try client.open(mount("demo/peer/doorbell"))
        #expect(try client("drain", first) == "0 0")
        #expect(try client("drain", second) == "0 0")
        for offset in ["0x00002000", "0x00003000"] {
          #expect(try client("post", sender, offset) == "0")
          #expect(try client("drain", first) == "1 0 \(offset)")
          #expect(try client("drain", second) == "1 0 \(offset)")
          #expect(try client("read", bell, "100") == #"\#(offset)\n"#)
        }
      }
    }

    /// What a handle keeps for a reader that never comes is limited, and the loss is told.
    @Test func `a reader that falls far behind is told so`() throws {
      try withMount(["--region", "demo:4M"]) { mount in try mount.python("overflow.py") }
    }

    /// The round trip is for those who post through the mapping; in a text the flag is a mistake.
    @Test func `a written offset with the round trip flag is misaligned`() throws {
      try withMount { mount in
        let client = try mount.client()
        let guest = try client.open(mount("demo/doorbell"))
        #expect(try client("write", guest, "0x2001\n") == "EADDRNOTAVAIL")
        #expect(try mount.facts("demo/info")["outgoing_posted"] == "0")
      }
    }
  }
}
