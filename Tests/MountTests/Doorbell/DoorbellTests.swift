// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// What `doorbell` takes and gives.
  @Suite struct Doorbells {
    @Test func `offsets are posted and arrive once`() throws {
      try withMount { mount in
        let client = try mount.client()
        for (here, there) in [("demo/", "demo/peer/"), ("demo/peer/", "demo/")] {
          let sender = try client.open(mount(here + "doorbell"))
          let receiver = try client.open(mount(there + "doorbell"))
          #expect(try client("write", sender, "0x2000\n") == "7")
          #expect(try client("read", receiver, "100") == #"0x00002000\n"#)
          // Decimal and hexadecimal, any white space; the same offset again is one line.
          let text = " 8196\t0x2008\n0x200C 8192\n"
          #expect(try client("write", sender, text) == "\(text.utf8.count)")
          #expect(try client("write", sender, "0x2008") == "6")
          let lines = try client("read", receiver, "100").replacing(#"\n"#, with: "\n")
          #expect(
            lines.split(separator: "\n").sorted() == [
              "0x00002000", "0x00002004", "0x00002008", "0x0000200c",
            ])
          #expect(try client("poll", receiver, "in", "0") == "none")
          #expect(try client("poll", sender, "in", "0") == "none")
          #expect(try client("close", sender) == "0")
          #expect(try client("close", receiver) == "0")
        }
      }
    }

    @Test(arguments: ["0", "0\n", "\n", " \n", "0x0\n", "00"])
    func `an empty line or 0 rings without an offset`(_ text: String) throws {
      try withMount { mount in
        let client = try mount.client()
        let sender = try client.open(mount("demo/doorbell"))
        let receiver = try client.open(mount("demo/peer/doorbell"))
        // Also while an interrupt is in flight: no matter what, one line comes of it.
        for _ in 0..<2 {
          #expect(try client("write", sender, text) == "\(text.utf8.count)")
          #expect(try client("write", sender, text) == "\(text.utf8.count)")
          #expect(try client("read", receiver, "100") == #"0x00000000\n"#)
          #expect(try client("poll", receiver, "in", "0") == "none")
        }
      }
    }

    @Test(arguments: [
      ("x\n", "EINVAL"), ("0x\n", "EINVAL"), ("-4\n", "EINVAL"), ("12z\n", "EINVAL"),
      ("0x2000,0x2004\n", "EINVAL"), ("1e3\n", "EINVAL"), ("0x2000 ä\n", "EINVAL"),
      ("0x2002\n", "EADDRNOTAVAIL"),
      ("0x10000\n", "E2BIG"), ("0xfffffffc\n", "E2BIG"),
      ("0x2000 0x10000\n", "E2BIG"), ("0x2000 0x2003\n", "EADDRNOTAVAIL"),
      ("0x2000 nonsense\n", "EINVAL"),
    ])
    func `a bad write posts nothing`(_ text: String, _ error: String) throws {
      try withMount(["--region", "demo:64K"]) { mount in
        let client = try mount.client()
        let sender = try client.open(mount("demo/doorbell"))
        let receiver = try client.open(mount("demo/peer/doorbell"), "rw,nonblock")
        #expect(try client("write", sender, text) == error)
        #expect(try client("read", receiver, "100") == "EAGAIN")
        #expect(try client("write", sender, "0xfffc\n") == "7")
        #expect(try client("read", receiver, "100") == #"0x0000fffc\n"#)
      }
    }

    /// Numbers that need more than 32 or 64 bits are no offsets, nor do they wrap around to one.
    @Test(arguments: ["0x100002000\n", "4294975488\n", "0x10000000000002000\n"])
    func `a number beyond 32 bits is refused`(_ text: String) throws {
      try withMount { mount in
        let client = try mount.client()
        let sender = try client.open(mount("demo/doorbell"))
        let receiver = try client.open(mount("demo/peer/doorbell"), "rw,nonblock")
        let reply = try client("write", sender, text)
        #expect(["E2BIG", "EINVAL"].contains(reply), "\(reply)")
        #expect(try client("read", receiver, "100") == "EAGAIN")
      }
    }

    @Test func `a read takes whole lines, or a part of one`() throws {
      try withMount { mount in
        let client = try mount.client()
        let sender = try client.open(mount("demo/doorbell"))
        let receiver = try client.open(mount("demo/peer/doorbell"), "rw,nonblock")
        #expect(try client("write", sender, "0x2000 0x2004 0x2008\n") == "21")
        // Two and a half lines fit; two come.
        let first = try client("read", receiver, "27")
        #expect(first.replacing(#"\n"#, with: "\n").utf8.count == 22)
        #expect(try client("poll", receiver, "in", "0") == "in")
        var bytes = ""
        for _ in 0..<11 {
          #expect(try client("poll", receiver, "in", "0") == "in")
          bytes += try client("read", receiver, "1")
        }
        #expect(
          Set((first + bytes).replacing(#"\n"#, with: "\n").split(separator: "\n")) == [
            "0x00002000", "0x00002004", "0x00002008",
          ])
        #expect(try client("poll", receiver, "in", "0") == "none")
        #expect(try client("read", receiver, "1") == "EAGAIN")
      }
    }

    /// A rest of a line is finished before anything that came in the meantime.
    @Test func `byte by byte across new rings`() throws {
      try withMount { mount in
        let client = try mount.client()
        let sender = try client.open(mount("demo/doorbell"))
        let receiver = try client.open(mount("demo/peer/doorbell"))
        #expect(try client("write", sender, "0x2000\n") == "7")
        #expect(try client("read", receiver, "4") == "0x00")
        #expect(try client("write", sender, "0x2004\n") == "7")
        var text = "0x00"
        while text.utf8.count < 24 { text += try client("read", receiver, "1") }
        #expect(text == #"0x00002000\n0x00002004\n"#)
      }
    }

    @Test func `every reader of an end sees every offset`() throws {
      try withMount { mount in
        let (first, second, sender) = try (mount.client(), mount.client(), mount.client())
        let bell = try sender.open(mount("demo/doorbell"))
        let receivers = try [
          (first, first.open(mount("demo/peer/doorbell"))),
          (first, first.open(mount("demo/peer/doorbell"))),
          (second, second.open(mount("demo/peer/doorbell"))),
        ]
        let offsets = (0..<20).map { 0x2000 + $0 * 4 }
        for (index, offset) in offsets.enumerated() {
          #expect(try sender("write", bell, "\(offset)\n") == "5")
          // One of them reads all the time, the others when they come to it.
          if index % 3 == 0 {
            let lines = try receivers[0].0("read", receivers[0].1, "1100")
            #expect(lines.contains("0x"))
          }
        }
        for (index, (client, fd)) in receivers.enumerated() where index > 0 {
          let text = try client("read", fd, "1100").replacing(#"\n"#, with: "\n")
          let seen = text.split(separator: "\n").compactMap { Int($0.dropFirst(2), radix: 16) }
          #expect(seen.sorted() == offsets, "reader \(index)")
        }
        // Who opens now has missed it all.
        let late = try first.open(mount("demo/peer/doorbell"), "rw,nonblock")
        #expect(try first("read", receivers[0].1, "1100").contains("0x"))
        #expect(try first("read", late, "100") == "EAGAIN")
      }
    }

    @Test func `all blocked readers of an end wake`() throws {
      try withMount { mount in
        let readers = try (0..<3).map { _ in try mount.client() }
        for reader in readers {
          try reader.send("read", reader.open(mount("demo/peer/doorbell")), "100")
        }
        for reader in readers { try reader.waitUntilBlocked() }
        let sender = try mount.client()
        #expect(try sender("write", mount("demo/doorbell"), "0x2000\n") == "7")
        for reader in readers { #expect(try reader.reply() == #"0x00002000\n"#) }
      }
    }

    /// Each handle's offsets are a set: a slow reader costs no more memory than there are offsets.
    @Test func `offsets of a handle are coalesced`() throws {
      try withMount { mount in
        let client = try mount.client()
        let sender = try client.open(mount("demo/doorbell"))
        let fast = try client.open(mount("demo/peer/doorbell"))
        let slow = try client.open(mount("demo/peer/doorbell"))
        for _ in 0..<5 {
          #expect(try client("write", sender, "0x2000\n") == "7")
          #expect(try client("read", fast, "100") == #"0x00002000\n"#)
        }
        #expect(try client("read", slow, "100") == #"0x00002000\n"#)
        #expect(try client("poll", slow, "in", "0") == "none")
      }
    }

    @Test func `streams cannot be positioned`() throws {
      try withMount { mount in
        let client = try mount.client()
        for file in ["doorbell", "signal", "peer/doorbell", "peer/signal"] {
          let fd = try client.open(mount("demo/" + file))
          #expect(try client("seek", fd, "0", "set") == "ESPIPE", "\(file)")
          #expect(try client("seek", fd, "0", "cur") == "ESPIPE", "\(file)")
          #expect(try client("read", fd, "10", "0") == "ESPIPE", "\(file)")
          #expect(try client("write", fd, "0", "0") == "ESPIPE", "\(file)")
          #expect(try client("map", fd, "4096") == "ENODEV", "\(file)")
        }
      }
    }

    /// A drain wakes whoever sleeps at the offset, as the receiver of the protocol does.
    @Test func `a drained offset wakes its sleepers`() throws {
      try withMount { mount in
        let (sleeper, guest, host) = try (mount.client(), mount.client(), mount.client())
        let data = try sleeper.open(mount("demo/peer/data"))
        let memory = try sleeper("map", mount.mappable("demo/peer/data"), "0x3000")
        try sleeper.start("condition", "cond-wait", data, "0x2000", "0")
        try sleeper.start("futex", "futex-wait", memory, "0x2000", "0")
        try sleeper.start("other", "cond-wait", data, "0x2004", "0")
        try sleeper.waitUntilBlocked(in: .futex)
        try sleeper.waitUntilBlocked(threads: 2)
        let mine = try guest("map", guest.open(mount("demo/data")), "0x3000")
        #expect(try guest("store", mine, "0x2000", "1") == "0")
        #expect(try guest("write", mount("demo/doorbell"), "0x2000\n") == "7")
        #expect(try host("read", mount("demo/peer/doorbell"), "100") == #"0x00002000\n"#)
        #expect(try sleeper.asynchronousReply("condition").hasPrefix("0 wakes="))
        #expect(try sleeper.asynchronousReply("futex") == "0")
        try sleeper.waitUntilBlocked()
        #expect(try !sleeper.hasReplied)
      }
    }
  }
}
