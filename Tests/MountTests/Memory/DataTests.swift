// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// `data`: one memory, whoever reads, writes or maps it.
  @Suite struct Data {
    @Test(arguments: Client.ABI.allCases)
    func `both ends and all processes share one memory`(_ abi: Client.ABI) throws {
      try withMount(["--region", "demo:64K"]) { mount in
        let (guest, host) = try (mount.client(abi), mount.client())
        let (near, far) = try (
          guest.open(mount("demo/data")), host.open(mount("demo/peer/data"))
        )
        let (mine, yours) = try (
          guest("map", near, "65536"), host("map", mount.mappable("demo/peer/data"), "65536")
        )
        for (round, offset) in ["0x2000", "0x2004", "0xfffc"].enumerated() {
          #expect(try guest("store", mine, offset, "\(100 + round)") == "0")
          #expect(try host("load", yours, offset) == "\(100 + round)")
          #expect(try host("exchange", yours, offset, "\(200 + round)") == "\(100 + round)")
          #expect(try guest("load", mine, offset) == "\(200 + round)")
        }
        // Through read and write as well.
        #expect(try host("write", far, "hello", "0x3000") == "5")
        #expect(try guest("peek", mine, "0x3000", "6") == "68656c6c6f00")
        #expect(try guest("store", mine, "0x3000", "0x44434241") == "0")
        #expect(try host("read", far, "5", "0x3000") == "ABCDo")
        #expect(try guest("read", near, "5", "0x3000") == "ABCDo")
        // A mapping of a part of it.
        let page = try host("map", mount.mappable("demo/peer/data"), "4096", "0x3000")
        #expect(try host("load", page, "0") == "1145258561")
      }
    }

    @Test func `futexes work across processes and ends`() throws {
      try withMount { mount in
        let (guest, host) = try (mount.client(), mount.client())
        let mine = try guest("map", guest.open(mount("demo/data")), "0x3000")
        let yours = try host("map", mount.mappable("demo/peer/data"), "0x3000")
        try guest.send("futex-wait", mine, "0x2000", "0")
        try guest.waitUntilBlocked(in: .futex)
        #expect(try host("futex-wake", yours, "0x2004") == "0")
        #expect(try host("store", yours, "0x2000", "1") == "0")
        #expect(try host("futex-wake", yours, "0x2000") == "1")
        #expect(try guest.reply() == "0")
        #expect(try guest("futex-wait", mine, "0x2000", "0") == "EAGAIN")
      }
    }

    @Test func `new memory is zero but for the header`() throws {
      try withMount(["--region", "demo:64K"]) { mount in
        let client = try mount.client()
        let memory = try client("map", mount("demo/data"), "65536")
        // major 2, minor 0, size, one region, described at 16.
        #expect(
          try client("peek", memory, "0", "16")
            == "02000000" + "00000100" + "01000000" + "10000000")
        #expect(try client("peek", memory, "0x2000", "64") == String(repeating: "0", count: 128))
        let name = "64656d6f" + String(repeating: "00", count: 12)
        #expect(try client("peek", memory, "56", "16") == name)
        let result = try mount.shell("tail -c +8193 $M/demo/data | tr -d '\\0' | wc -c")
        #expect(result.lines == ["0"])
      }
    }

    @Test func `reads end at the end`() throws {
      try withMount(["--region", "demo:64K"]) { mount in
        let client = try mount.client()
        let fd = try client.open(mount("demo/data"))
        #expect(try client("write", fd, "tail", "65532") == "4")
        #expect(try client("read", fd, "100", "65532") == "tail")
        #expect(try client("read", fd, "100", "65536") == "")
        #expect(try client("read", fd, "100", "0x100000000") == "")
        #expect(try client("seek", fd, "0", "end") == "65536")
        #expect(try mount.shell("wc -c < $M/demo/data").lines == ["65536"])
      }
    }

    @Test func `a write past the end fails and changes nothing`() throws {
      try withMount(["--region", "demo:64K"]) { mount in
        let client = try mount.client()
        let fd = try client.open(mount("demo/data"))
        #expect(try client("write", fd, "tail", "65532") == "4")
        for offset in ["65536", "65540", "131072", "0xfffff000", "0x100000000"] {
          #expect(try client("write", fd, "x", offset).hasPrefix("E"), "\(offset)")
        }
        // Across the end: nothing, or what fits.
        let reply = try client("write", fd, "ABCDEFGH", "65532")
        #expect(reply.hasPrefix("E") || reply == "4", "\(reply)")
        let across = try client("fill", fd, "0x55", "8192", "61440")
        #expect(across.hasPrefix("E") || across == "4096", "\(across)")
        #expect(try client("stat", fd).contains(" 65536 "))
        #expect(try client("read", fd, "100", "65536") == "")
        let appending = try client.open(mount("demo/data"), "rw,append")
        #expect(try client("write", appending, "x").hasPrefix("E"))
        #expect(try client("stat", mount("demo/peer/data")).contains(" 65536 "))
        // Nor can it be made longer in other ways.
        let result = try mount.shell("fallocate -l 1M $M/demo/data 2>&1; stat -c %s $M/demo/data")
        #expect(result.lines.last == "65536")
      }
    }

    /// A shell's `>` truncates: that must never destroy memory.
    @Test func `O_TRUNC destroys nothing`() throws {
      try withMount(["--region", "demo:64K"]) { mount in
        let client = try mount.client()
        let fd = try client.open(mount("demo/data"))
        let memory = try client("map", fd, "65536")
        #expect(try client("store", memory, "0xfffc", "77") == "0")
        #expect(try client("store", memory, "0x2000", "78") == "0")
        let again = try client.open(mount("demo/data"), "rw,trunc")
        #expect(try client("stat", again).contains(" 65536 "))
        #expect(try client("load", memory, "0xfffc") == "77")
        #expect(try client("load", memory, "0x2000") == "78")
        let other = try client("map", again, "65536")
        #expect(try client("load", other, "0xfffc") == "77")

        let result = try mount.shell(
          """
          : > $M/demo/data
          echo x > $M/demo/data
          echo y > $M/demo/peer/data
          for file in doorbell signal peer/doorbell; do : > $M/demo/$file; done
          echo inject > $M/demo/peer/signal
          stat -c %s $M/demo/data $M/demo/peer/data
          """)
        #expect(result.lines == ["65536", "65536"])
        // What was written was written; the rest is as it was.
        #expect(try client("peek", memory, "0", "4") == "790a0000")
        #expect(try client("load", memory, "4") == "65536")
        #expect(try client("load", memory, "0xfffc") == "77")
        #expect(try client("load", memory, "0x2000") == "78")
        #expect(try client("describe", fd).contains(" 65536 "))
        #expect(try client("read", mount("demo/signal"), "100") == #"1\n"#)
      }
    }

    @Test func `a read-only descriptor maps read-only`() throws {
      try withMount { mount in
        let client = try mount.client()
        let fd = try client.open(mount("demo/data"), "r")
        #expect(try client("map", fd, "4096") == "EACCES")
        let memory = try client("map", fd, "4096", "0", "ro")
        #expect(try client("load", memory, "4") == "1048576")
        #expect(try client("write", fd, "x") == "EBADF")
      }
    }

    /// The header is for readers: what a client writes there changes nothing for the daemon.
    @Test func `a spoilt header does not mislead the daemon`() throws {
      try withMount(["--region", "demo:64K"]) { mount in
        let client = try mount.client()
        let fd = try client.open(mount("demo/data"))
        let before = try client("describe", fd)
        let info = try client("region-info", fd)
        #expect(try client("fill", fd, "0xff", "4096", "0") == "4096")
        #expect(try client("describe", fd) == before)
        #expect(try client("region-info", fd) == info)
        #expect(try client("post", fd, "0x10000") == "E2BIG")
        #expect(try client("post", fd, "0x2000") == "0")
        #expect(try client("drain", mount("demo/peer/data")) == "1 0 0x00002000")
        #expect(try mount.facts("demo/info")["size"] == "65536")
      }
    }

    @Test func `large regions`() throws {
      try withMount(["--region", "big:1G"]) { mount in
        let client = try mount.client()
        let fd = try client.open(mount("big/data"))
        #expect(try client("write", fd, "end", "0x3ffffff0") == "3")
        let page = try client("map", mount.mappable("big/peer/data"), "4096", "0x3ffff000")
        #expect(try client("peek", page, "0xff0", "4") == "656e6400")
        #expect(try client("post", fd, "0x3ffffffc") == "0")
        #expect(try client("drain", mount("big/peer/data")) == "1 0 0x3ffffffc")
        #expect(try client("post", fd, "0x40000000") == "E2BIG")
      }
    }

    @Test func `from Python`() throws {
      try withMount { mount in
        try mount.python("memory.py")
        try mount.python("ioctls.py")
      }
    }
  }
}
