// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// What `signal` takes and gives.
  @Suite struct Signals {
    @Test(arguments: ["inject", "inject\n", "1", "1\n"])
    func `an injected signal arrives at the other end`(_ text: String) throws {
      try withMount { mount in
        let client = try mount.client()
        for (here, there) in [("demo/", "demo/peer/"), ("demo/peer/", "demo/")] {
          let sender = try client.open(mount(here + "signal"))
          let receiver = try client.open(mount(there + "signal"))
          for count in 1...3 {
            #expect(try client("write", sender, text) == "\(text.utf8.count)")
            #expect(try client("read", receiver, "100") == #"\#(count)\n"#)
            #expect(try client("poll", receiver, "in", "0") == "none")
          }
          #expect(try client("poll", sender, "in", "0") == "none")
          #expect(try client("close", sender) == "0")
          #expect(try client("close", receiver) == "0")
        }
      }
    }

    @Test func `notifications that nobody has taken yet are one`() throws {
      try withMount { mount in
        let client = try mount.client()
        let sender = try client.open(mount("demo/signal"))
        let receiver = try client.open(mount("demo/peer/signal"))
        for _ in 0..<5 { #expect(try client("write", sender, "1\n") == "2") }
        #expect(try client("read", receiver, "100") == #"1\n"#)
        #expect(try client("poll", receiver, "in", "0") == "none")
      }
    }

    @Test(arguments: ["2", "0", "on", "inject enable", "ENABLE", "1 1", "injectx", "ä", "\u{1}"])
    func `other text is refused`(_ text: String) throws {
      try withMount { mount in
        let client = try mount.client()
        let receiver = try client.open(mount("demo/peer/signal"), "rw,nonblock")
        #expect(try client("write", mount("demo/signal"), text) == "EINVAL")
        #expect(try client("read", receiver, "100") == "EAGAIN")
      }
    }

    @Test func `a masked end hears of it when it is unmasked`() throws {
      try withMount { mount in
        let (guest, host) = try (mount.client(), mount.client())
        let sender = try guest.open(mount("demo/signal"))
        let receiver = try host.open(mount("demo/peer/signal"))
        #expect(try host("write", receiver, "disable\n") == "8")
        #expect(try guest("write", sender, "inject\n") == "7")
        #expect(try host("poll", receiver, "in", "20") == "none")
        let other = try host.open(mount("demo/peer/signal"), "rw,nonblock")
        #expect(try host("read", other, "100") == "EAGAIN")
        // A poller and a reader that wait already.
        try host.start("poll", "poll", other, "in", "-1")
        try host.start("read", "read", receiver, "100")
        try host.waitUntilBlocked(in: .poll)
        try host.waitUntilBlocked()
        // Another end's mask is another matter.
        #expect(try guest("write", sender, "enable\n") == "7")
        try host.waitUntilBlocked()
        #expect(try !host.hasReplied)
        #expect(try guest("write", mount("demo/peer/signal"), "enable\n") == "7")
        #expect(try host.asynchronousReply("poll") == "in")
        #expect(try host.asynchronousReply("read") == #"1\n"#)
        #expect(try host("read", other, "100") == #"1\n"#)
        #expect(try host("read", other, "100") == "EAGAIN")
      }
    }

    /// Masking also holds back what was due already.
    @Test func `masking hides what is due`() throws {
      try withMount { mount in
        let client = try mount.client()
        let receiver = try client.open(mount("demo/peer/signal"), "rw,nonblock")
        #expect(try client("write", mount("demo/signal"), "1") == "1")
        #expect(try client("poll", receiver, "in", "10000") == "in")
        #expect(try client("write", receiver, "disable") == "7")
        #expect(try client("poll", receiver, "in", "0") == "none")
        #expect(try client("read", receiver, "100") == "EAGAIN")
        #expect(try client("write", receiver, "enable") == "6")
        #expect(try client("read", receiver, "100") == #"1\n"#)
        // Enabling again makes nothing due.
        #expect(try client("write", receiver, "enable") == "6")
        #expect(try client("read", receiver, "100") == "EAGAIN")
      }
    }

    @Test func `every handle sees every advance of the count`() throws {
      try withMount { mount in
        let client = try mount.client()
        let sender = try client.open(mount("demo/signal"))
        let (first, second) = try (
          client.open(mount("demo/peer/signal")), client.open(mount("demo/peer/signal"))
        )
        for count in 1...3 {
          #expect(try client("write", sender, "1") == "1")
          #expect(try client("read", first, "100") == #"\#(count)\n"#)
        }
        // Three advances, seen as one line: the count is what it is.
        #expect(try client("read", second, "100") == #"3\n"#)
        #expect(try client("poll", second, "in", "0") == "none")
        // Who opens now has seen nothing advance.
        let late = try client.open(mount("demo/peer/signal"), "rw,nonblock")
        #expect(try client("read", late, "100") == "EAGAIN")
        #expect(try client("write", sender, "1") == "1")
        for fd in [late, first, second] { #expect(try client("read", fd, "100") == #"4\n"#) }
      }
    }

    @Test func `the count is read byte by byte`() throws {
      try withMount { mount in
        let client = try mount.client()
        let sender = try client.open(mount("demo/signal"))
        let receiver = try client.open(mount("demo/peer/signal"), "rw,nonblock")
        for _ in 0..<12 {
          #expect(try client("write", sender, "1") == "1")
          let drain = try client.open(mount("demo/peer/signal"))
          #expect(try client("poll", drain, "in", "10000") == "in")
          #expect(try !client("read", drain, "100").hasPrefix("E"))
          #expect(try client("close", drain) == "0")
        }
        var text = ""
        for _ in 0..<3 { text += try client("read", receiver, "1") }
        #expect(text == #"12\n"#)
        #expect(try client("read", receiver, "1") == "EAGAIN")
      }
    }

    /// A sender that works through the mapping sets dirty and pending, and rings.
    @Test func `injecting through a mapping`() throws {
      try withMount { mount in
        let (guest, host) = try (mount.client(), mount.client())
        let offset = try mount.signalOffset()
        let data = try guest.open(mount("demo/data"))
        let memory = try guest("map", data, "0x3000")
        // magic, version, then enabled, pending, dirty of north and of south.
        #expect(
          try guest("peek", memory, "\(offset)", "14") == "df39fa5801000000" + "010000" + "010000")
        let receiver = try host.open(mount("demo/peer/signal"))
        for count in 1...3 {
          try host.send("read", receiver, "100")
          try host.waitUntilBlocked()
          // irq[1].dirty is byte 13; bytes 12 to 15 hold pending and dirty of south.
          #expect(try guest("store", memory, "\(offset + 12)", "0x0101") == "0")
          #expect(try guest("send", data) == "0")
          #expect(try host.reply() == #"\#(count)\n"#)
          #expect(try guest("peek", memory, "\(offset + 8)", "6") == "010000" + "010000")
        }
      }
    }

    /// The daemon's own injection leaves what the protocol says for readers of the memory.
    @Test func `the descriptor in memory shows what is due`() throws {
      try withMount { mount in
        let client = try mount.client()
        let offset = try mount.signalOffset()
        let memory = try client("map", client.open(mount("demo/data")), "0x3000")
        func irqs() throws -> String { try client("peek", memory, "\(offset + 8)", "6") }
        #expect(try client("write", mount("demo/signal"), "1") == "1")
        #expect(try irqs() == "010000" + "010101")
        #expect(try client("read", mount("demo/peer/signal"), "100") == #"1\n"#)
        #expect(try irqs() == "010000" + "010000")
        #expect(try client("write", mount("demo/peer/signal"), "disable") == "7")
        #expect(try client("write", mount("demo/signal"), "1") == "1")
        #expect(try irqs() == "010000" + "000001")
      }
    }

    @Test func `all blocked readers of an end wake`() throws {
      try withMount { mount in
        let readers = try (0..<3).map { _ in try mount.client() }
        for reader in readers {
          try reader.send("read", reader.open(mount("demo/peer/signal")), "100")
        }
        for reader in readers { try reader.waitUntilBlocked() }
        let sender = try mount.client()
        #expect(try sender("write", mount("demo/signal"), "inject\n") == "7")
        for reader in readers { #expect(try reader.reply() == #"1\n"#) }
      }
    }
  }
}

extension MountedDaemon {
  /// The offset of a region's `shm_signal_desc`, from `info`.
  fileprivate func signalOffset() throws -> Int {
    let text = try facts("demo/info")["shm_signal_offset"] ?? ""
    return try #require(Int(text))
  }
}
