// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// What each ioctl does and refuses, for programs of both ABIs.
  @Suite struct Ioctls {
    static let offset = "0x2000"

    @Test(arguments: Client.ABI.allCases)
    func `describe and region info agree with info`(_ abi: Client.ABI) throws {
      let layout = """
        { regions: [{ name: "first" }, { name: "demo", size: "128K", current_version: 3,
          min_compatible_version: 2, nodes_lg2: { guest_to_host: 4, host_to_guest: 7 } }] }
        """
      try withLayout(layout) { mount in
        let client = try mount.client(abi)
        let guest = try client.open(mount("demo/data"))
        let host = try client.open(mount("demo/peer/data"))
        let facts = try mount.facts("demo/info")
        let size = try #require(facts["size"])
        let data = try #require(facts["data_offset"])
        let tables = try "\(#require(facts["guest_to_host"])) \(#require(facts["host_to_guest"]))"
        #expect(size == "131072")
        #expect(try client("describe", guest) == "3 2 0 \(size) \(data) \(tables) demo 0")
        #expect(try client("describe", host) == client("describe", guest))

        let signal = try #require(facts["shm_signal_offset"])
        let mode = mount.mode == .pageCache ? 1 : 0
        #expect(try client("region-info", guest) == "\(size) \(data) \(signal) 2 0 \(mode)")
        #expect(try client("region-info", host) == "\(size) \(data) \(signal) 2 1 \(mode)")
        #expect(facts["index"] == "2")
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `an interrupt is sent once until the receiver has taken it`(_ abi: Client.ABI) throws {
      try withMount { mount in
        let client = try mount.client(abi)
        let ends = try (client.open(mount("demo/data")), client.open(mount("demo/peer/data")))
        for (sender, receiver, direction) in [
          (ends.0, ends.1, "guest_to_host"), (ends.1, ends.0, "host_to_guest"),
        ] {
          let word = try mount.word(of: direction)
          let memory = try client("map", mount.mappable("demo/peer/data"), "0x3000")
          #expect(try client("load", memory, word) == "0")
          #expect(try client("maybe", sender) == "0")
          #expect(try client("load", memory, word) == "1")
          #expect(try client("maybe", sender) == "EBUSY")
          #expect(try client("wait-incoming", receiver) == "0")
          // Waiting does not clear it.
          #expect(try client("load", memory, word) == "1")
          #expect(try client("wait-incoming", receiver) == "0")
          #expect(try client("drain", receiver) == "1 0 0x00000000")
          #expect(try client("load", memory, word) == "0")
          #expect(try client("maybe", sender) == "0")
          #expect(try client("drain", receiver) == "1 0 0x00000000")
          #expect(try client("drain", receiver) == "0 0")
          #expect(try client("unmap", memory) == "0")
        }
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `wait for incoming ends with the interrupt`(_ abi: Client.ABI) throws {
      try withMount { mount in
        let (guest, host) = try (mount.client(abi), mount.client(abi))
        try host.send("wait-incoming", host.open(mount("demo/peer/data")))
        try host.waitUntilBlocked()
        #expect(try guest("maybe", guest.open(mount("demo/data"))) == "0")
        #expect(try host.reply() == "0")
      }
    }

    /// A sender that works through the mapping sets the word itself, and rings.
    @Test func `wait for incoming sees a word that was set through a mapping`() throws {
      try withMount { mount in
        let (guest, host) = try (mount.client(), mount.client())
        try host.send("wait-incoming", host.open(mount("demo/peer/data")))
        try host.waitUntilBlocked()
        let data = try guest.open(mount("demo/data"))
        let memory = try guest("map", data, "0x3000")
        let word = try mount.word(of: "guest_to_host")
        #expect(try guest("exchange", memory, word, "1") == "0")
        #expect(try guest("send", data) == "0")
        #expect(try host.reply() == "0")
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `send rings whether or not an interrupt is in flight`(_ abi: Client.ABI) throws {
      try withMount { mount in
        let client = try mount.client(abi)
        let guest = try client.open(mount("demo/data"))
        let bell = try client.open(mount("demo/peer/doorbell"))
        for _ in 0..<2 {
          #expect(try client("send", guest) == "0")
          #expect(try client("poll", bell, "in", "10000") == "in")
          #expect(try client("read", bell, "100") == #"0x00000000\n"#)
          #expect(try client("poll", bell, "in", "0") == "none")
        }
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `self interrupt ends the own wait`(_ abi: Client.ABI) throws {
      try withMount { mount in
        let client = try mount.client(abi)
        let data = try client.open(mount("demo/data"))
        try client.start("wait", "wait-incoming", data)
        try client.waitUntilBlocked()
        #expect(try client("self", data) == "0")
        #expect(try client.asynchronousReply("wait") == "0")
        #expect(try client("wait-incoming", data) == "0")
        let memory = try client("map", data, "0x3000")
        #expect(try client("load", memory, mount.word(of: "host_to_guest")) == "1")
        #expect(try client("load", memory, mount.word(of: "guest_to_host")) == "0")
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `post and drain carry offsets`(_ abi: Client.ABI) throws {
      let layout = #"{ regions: [{ name: "demo", nodes_lg2: 7 }] }"#
      try withLayout(layout) { mount in
        let client = try mount.client(abi)
        let guest = try client.open(mount("demo/data"))
        let host = try client.open(mount("demo/peer/data"))
        #expect(try client("drain", host) == "0 0")
        for _ in 0..<3 { #expect(try client("post", guest, "0x3000") == "0") }
        #expect(try client("drain", host) == "1 0 0x00003000")

        // A hundred do not fit into one buffer.
        let offsets = (0..<100).map { 0x4000 + $0 * 4 }
        for offset in offsets { #expect(try client("post", guest, "\(offset)") == "0") }
        let first = try client("drain", host).split(separator: " ").map(String.init)
        let second = try client("drain", host).split(separator: " ").map(String.init)
        #expect(first.prefix(2) == ["62", "1"])
        #expect(second.prefix(2) == ["38", "0"])
        let drained = (first.dropFirst(2) + second.dropFirst(2)).compactMap {
          Int($0.dropFirst(2), radix: 16)
        }
        #expect(drained.sorted() == offsets)
        #expect(try client("drain", host) == "0 0")
        // The sender's own end got nothing.
        #expect(try client("drain", guest) == "0 0")
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `post refuses bad offsets and a full table`(_ abi: Client.ABI) throws {
      try withLayout(#"{ regions: [{ name: "demo", size: "64K", nodes_lg2: 1 }] }"#) { mount in
        let client = try mount.client(abi)
        let guest = try client.open(mount("demo/data"))
        let host = try client.open(mount("demo/peer/data"))
        #expect(try client("post", guest, "0x2002") == "EADDRNOTAVAIL")
        #expect(try client("post", guest, "0x10000") == "E2BIG")
        #expect(try client("post", guest, "0xfffffffc") == "E2BIG")
        #expect(try client("post", guest, "0xfffc") == "0")
        #expect(try client("post", guest, "0x3000") == "0")
        #expect(try client("post", guest, "0x3004") == "EAGAIN")
        // What is there already needs no slot.
        #expect(try client("post", guest, "0x3000") == "0")
        #expect(try client("drain", host).hasPrefix("2 0 "))
        #expect(try client("post", guest, "0x3004") == "0")
        #expect(try client("drain", host) == "1 0 0x00003004")
      }
    }

    /// An ioctl's argument has as many bits as a pointer: those above 32 are part of the offset.
    @Test(arguments: ["post", "cond-wake"])
    func `an offset that needs more than 32 bits is out of range`(_ verb: String) throws {
      try withMount { mount in
        let client = try mount.client()
        let guest = try client.open(mount("demo/data"))
        #expect(try client(verb, guest, "0x100002000") == "E2BIG")
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `signals are injected, masked and unmasked`(_ abi: Client.ABI) throws {
      try withMount { mount in
        let client = try mount.client(abi)
        let guest = try client.open(mount("demo/data"))
        let host = try client.open(mount("demo/peer/data"))
        let signal = try client.open(mount("demo/peer/signal"), "rw,nonblock")
        #expect(try client("read", signal, "100") == "EAGAIN")
        #expect(try client("inject", guest) == "0")
        #expect(try client("read", signal, "100") == #"1\n"#)
        #expect(try client("disable", host) == "0")
        #expect(try client("inject", guest) == "0")
        #expect(try client("read", signal, "100") == "EAGAIN")
        #expect(try client("enable", host) == "0")
        #expect(try client("poll", signal, "in", "10000") == "in")
        #expect(try client("read", signal, "100") == #"2\n"#)
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `other numbers, and other files, have no ioctls`(_ abi: Client.ABI) throws {
      try withMount { mount in
        let client = try mount.client(abi)
        let data = try client.open(mount("demo/data"))
        // Permissions' have a size in their number; 9, 0x48 and 0xff are nobody's.
        for request in [0xf500, 0xf501, 0xf541, 0xf509, 0xf548, 0xf5ff] {
          #expect(try client("ioctl", data, "\(request)") == "ENOTTY", "\(request)")
        }
        // The right number with another size, direction or type.
        for request in [0xc010_f507, 0x0000_f507, 0x803c_f502, 0x803c_f404, 0x403c_f504, 0x5401] {
          #expect(try client("ioctl", data, "\(request)") == "ENOTTY", "\(request)")
        }
        for file in ["doorbell", "signal", "peer/doorbell", "peer/signal"] {
          let fd = try client.open(mount("demo/" + file))
          for request in [0xf502, 0xf506, 0x803c_f504, 0x8020_f540] {
            #expect(try client("ioctl", fd, "\(request)") == "ENOTTY", "\(file)")
          }
        }
        let info = try client.open(mount("demo/info"), "r")
        #expect(try client("ioctl", info, "\(0x803c_f504)") == "ENOTTY")
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `bad pointers are faults of the caller`(_ abi: Client.ABI) throws {
      try withMount { mount in
        let client = try mount.client(abi)
        let data = try client.open(mount("demo/data"))
        for request in [0x803c_f504, 0xc020_f507, 0x8020_f540, 0x8100_f544] {
          #expect(try client("ioctl", data, "\(request)", "16") == "EFAULT", "\(request)")
        }
        // The handle is as good as before.
        #expect(try client("maybe", data) == "0")
      }
    }
  }
}

extension MountedDaemon {
  /// The offset of a direction's `interrupt_signalled` word, from `info`.
  func word(of direction: String, in region: String = "demo") throws -> String {
    try table(of: direction, in: region).word
  }

  /// Slots, first slot's offset and word's offset of a direction, from `info`.
  func table(
    of direction: String, in region: String = "demo"
  ) throws -> (slots: Int, offset: Int, word: String) {
    let fields = try #require(facts(region + "/info")[direction]).split(separator: " ")
    try #require(fields.count == 3)
    return try (1 << #require(Int(fields[0])), #require(Int(fields[1])), String(fields[2]))
  }
}
