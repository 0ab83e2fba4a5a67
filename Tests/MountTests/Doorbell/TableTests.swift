// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension MountTests {
  /// The signal table behind `doorbell`: full, abandoned, or filled through a mapping.
  @Suite struct Tables {
    private static func layout(slotsLg2: Int) -> String {
      "{ regions: [{ name: \"demo\", size: \"64K\", nodes_lg2: \(slotsLg2) }] }"
    }

    @Test func `a full table blocks until the receiver drains`() throws {
      try withLayout(Self.layout(slotsLg2: 1)) { mount in
        let (guest, host) = try (mount.client(), mount.client())
        let sender = try guest.open(mount("demo/doorbell"))
        #expect(try guest("write", sender, "0x2000 0x2004\n") == "14")
        // What is posted already does not need room.
        #expect(try guest("write", sender, "0x2004\n") == "7")
        try guest.send("write", sender, "0x2008\n")
        try guest.waitUntilBlocked()
        let receiver = try host.open(mount("demo/peer/doorbell"))
        #expect(try host("read", receiver, "100").replacing(#"\n"#, with: "").utf8.count == 20)
        #expect(try guest.reply() == "7")
        #expect(try host("read", receiver, "100") == #"0x00002008\n"#)
      }
    }

    /// More offsets than slots: they go through as the receiver makes room.
    @Test func `a long write goes through a small table`() throws {
      try withLayout(Self.layout(slotsLg2: 0)) { mount in
        let (guest, host) = try (mount.client(), mount.client())
        let offsets = (0..<50).map { 0x2000 + $0 * 4 }
        let text = offsets.map { "\($0)" }.joined(separator: " ") + "\n"
        let receiver = try host.open(mount("demo/peer/doorbell"))
        try guest.send("write", mount("demo/doorbell"), text)
        var seen: [Int] = []
        while seen.count < offsets.count {
          let lines = try host("read", receiver, "1100").replacing(#"\n"#, with: "\n")
          // The receiver may take an offset just before it is rung for: then there is an empty ring.
          seen += lines.split(separator: "\n").compactMap { Int($0.dropFirst(2), radix: 16) }
            .filter { $0 != 0 }
        }
        #expect(seen == offsets)
        #expect(try guest.reply() == "\(text.utf8.count)")
      }
    }

    @Test func `a non-blocking or appending write does not wait`() throws {
      try withLayout(Self.layout(slotsLg2: 1)) { mount in
        let client = try mount.client()
        let sender = try client.open(mount("demo/doorbell"), "rw,nonblock")
        let receiver = try client.open(mount("demo/peer/doorbell"), "rw,nonblock")
        // It could never fit: waiting for POLLOUT would not help.
        #expect(try client("write", sender, "0x2000 0x2004 0x2008\n") == "EMSGSIZE")
        #expect(try client("read", receiver, "100") == "EAGAIN")
        #expect(try client("write", sender, "0x2000\n") == "7")
        // All or nothing: one would have fitted.
        #expect(try client("write", sender, "0x2004 0x2008\n") == "EAGAIN")
        #expect(try client("write", sender, "0x2000 0x2004\n") == "14")
        #expect(try client("write", sender, "0x2008\n") == "EAGAIN")
        let appending = try client.open(mount("demo/doorbell"), "w,append")
        #expect(try client("write", appending, "0x2008\n") == "EAGAIN")
        // A ring without an offset needs no slot.
        #expect(try client("write", sender, "0\n") == "2")
        let lines = try client("read", receiver, "100").replacing(#"\n"#, with: "\n")
        #expect(
          lines.split(separator: "\n").filter { $0 != "0x00000000" }.sorted()
            == ["0x00002000", "0x00002004"])
        #expect(try client("write", appending, "0x2008\n") == "7")
      }
    }

    @Test func `a write that is interrupted half-way says how far it came`() throws {
      try withLayout(Self.layout(slotsLg2: 1)) { mount in
        let client = try mount.client()
        #expect(try client("catch-usr1") == "0")
        let sender = try client.open(mount("demo/doorbell"))
        let text = "0x2000 0x2004 0x2008 0x200c\n"
        try client.send("write", sender, text)
        try client.waitUntilBlocked()
        client.signal(SIGUSR1)
        let count = try #require(Int(client.reply()))
        // The two that are posted, with or without the white space after them.
        #expect((13...14).contains(count))
        let receiver = try client.open(mount("demo/peer/doorbell"))
        let lines = try client("read", receiver, "100").replacing(#"\n"#, with: "\n")
        #expect(lines.split(separator: "\n").sorted() == ["0x00002000", "0x00002004"])
      }
    }

    @Test func `POLLOUT is there while no interrupt is in flight`() throws {
      try withMount { mount in
        let (guest, host) = try (mount.client(), mount.client())
        let sender = try guest.open(mount("demo/doorbell"))
        #expect(try guest("poll", sender, "out", "0") == "out")
        #expect(try guest("write", sender, "0x2000\n") == "7")
        #expect(try guest("poll", sender, "out", "0") == "none")
        #expect(try guest("poll", sender, "in,out", "0") == "none")
        try guest.send("poll", sender, "out", "-1")
        try guest.waitUntilBlocked(in: .poll)
        #expect(try host("read", mount("demo/peer/doorbell"), "100") == #"0x00002000\n"#)
        #expect(try guest.reply() == "out")
      }
    }

    /// It posted, and died before it could ring.
    @Test(arguments: ["poll", "read", "nonblock", "ring"])
    func `what a dead sender posted is delivered`(_ by: String) throws {
      try withMount { mount in
        let table = try mount.table(of: "guest_to_host")
        let dead = try mount.client()
        let memory = try dead("map", dead.open(mount("demo/data")), "0x3000")
        #expect(try dead("store", memory, "\(table.offset + 8)", "0x2010") == "0")
        #expect(dead.kill())
        let host = try mount.client()
        let receiver = try host.open(
          mount("demo/peer/doorbell"), by == "nonblock" ? "rw,nonblock" : "rw")
        switch by {
        case "poll": #expect(try host("poll", receiver, "in", "10000") == "in")
        case "ring": #expect(try host("write", mount("demo/doorbell"), "0x2010\n") == "7")
        default: break
        }
        #expect(try host("read", receiver, "100") == #"0x00002010\n"#)
        #expect(try host("poll", receiver, "in", "0") == "none")
      }
    }

    /// The blocked reader cannot know of it until somebody rings, for whatever reason.
    @Test func `any ring delivers what a dead sender posted`() throws {
      try withMount { mount in
        let table = try mount.table(of: "guest_to_host")
        let (guest, host) = try (mount.client(), mount.client())
        try host.send("read", host.open(mount("demo/peer/doorbell")), "100")
        try host.waitUntilBlocked()
        let data = try guest.open(mount("demo/data"))
        let memory = try guest("map", data, "0x3000")
        #expect(try guest("store", memory, "\(table.offset)", "0x2010") == "0")
        #expect(try guest("send", data) == "0")
        #expect(try host.reply() == #"0x00002010\n"#)
      }
    }

    /// A sender that works through the mapping posts, raises the word, and rings.
    @Test func `posting through a mapping`() throws {
      try withMount { mount in
        let table = try mount.table(of: "guest_to_host")
        let (guest, host) = try (mount.client(), mount.client())
        let data = try guest.open(mount("demo/data"))
        let memory = try guest("map", data, "0x3000")
        let receiver = try host.open(mount("demo/peer/doorbell"))
        for round in 0..<3 {
          try host.send("read", receiver, "100")
          try host.waitUntilBlocked()
          let offset = 0x2000 + round * 4
          #expect(try guest("exchange", memory, "\(table.offset)", "\(offset)") == "0")
          #expect(try guest("maybe", data) == "0")
          #expect(try host.reply() == #"0x0000200\#(round * 4)\n"#)
          #expect(try guest("load", memory, "\(table.offset)") == "0")
          #expect(try guest("load", memory, table.word) == "0")
        }
      }
    }

    /// Bit 0 of an offset: wake your side, then post it back to mine.
    @Test func `the round trip flag is masked and honoured`() throws {
      try withMount { mount in
        let table = try mount.table(of: "guest_to_host")
        let (guest, host) = try (mount.client(), mount.client())
        let data = try guest.open(mount("demo/data"))
        let memory = try guest("map", data, "0x3000")
        try guest.start("back", "read", guest.open(mount("demo/doorbell")), "100")
        try guest.start("sleeper", "cond-wait", data, "0x2000", "0")
        try guest.waitUntilBlocked(threads: 2)
        #expect(try guest("store", memory, "0x2000", "1") == "0")
        #expect(try guest("exchange", memory, "\(table.offset)", "0x2001") == "0")
        #expect(try guest("maybe", data) == "0")
        #expect(try host("read", mount("demo/peer/doorbell"), "100") == #"0x00002000\n"#)
        #expect(try guest.asynchronousReply("back") == #"0x00002000\n"#)
        #expect(try guest.asynchronousReply("sleeper").hasPrefix("0 wakes="))
      }
    }

    /// What is no offset of the region is dropped; the rest arrives, and the daemon counts it.
    @Test func `bad values in a table are dropped`() throws {
      try withMount(["--region", "demo:64K"]) { mount in
        let table = try mount.table(of: "guest_to_host")
        let client = try mount.client()
        let data = try client.open(mount("demo/data"))
        let memory = try client("map", data, "0x3000")
        let values = ["0x2002", "0x10000", "0xffffffff", "0xfffffffc", "0x2003", "0x2000"]
        for (index, value) in values.enumerated() {
          #expect(try client("store", memory, "\(table.offset + index * 4)", value) == "0")
        }
        #expect(try client("maybe", data) == "0")
        let receiver = try client.open(mount("demo/peer/doorbell"))
        #expect(try client("read", receiver, "100") == #"0x00002000\n"#)
        #expect(try client("poll", receiver, "in", "0") == "none")
        let before = try mount.read(".vsocfs/stats")
        #expect(try client("store", memory, "\(table.offset)", "0x2002") == "0")
        #expect(try client("maybe", data) == "0")
        _ = try client("read", receiver, "100")
        #expect(try mount.read(".vsocfs/stats") != before)
      }
    }
  }
}
