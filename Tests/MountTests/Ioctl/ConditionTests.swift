// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// COND_WAIT and COND_WAKE, alone and together with plain futexes.
  @Suite struct Conditions {
    private static let a = "0x2000"
    private static let b = "0x2004"

    /// A wait that has ended well after so many wakeups. Whoever looks at the word between its
    /// change and its wake, for whatever reason, may end the wait: the last wakeup need not count.
    private func expectWakes(
      _ reply: String, _ wakes: ClosedRange<Int>,
      sourceLocation: SourceLocation = #_sourceLocation
    ) {
      let words = reply.split(separator: " ")
      let count = words.count == 2 ? Int(words[1].dropFirst("wakes=".count)) : nil
      #expect(
        words.first == "0" && count.map(wakes.contains) == true, "\(reply)",
        sourceLocation: sourceLocation)
    }

    @Test(arguments: Client.ABI.allCases)
    func `a value that differs is not waited for`(_ abi: Client.ABI) throws {
      try withMount { mount in
        let client = try mount.client(abi)
        let data = try client.open(mount("demo/data"))
        #expect(try client("cond-wait", data, Self.a, "1") == "0 wakes=0")
        #expect(try client("cond-wait", data, Self.a, "1", "1", "0", "0", "7") == "0 wakes=7")
        // The value is looked at before the time.
        #expect(try client("cond-wait", data, Self.a, "1", "2", "0", "0") == "0 wakes=0")
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `bad arguments are refused, and wakes comes back`(_ abi: Client.ABI) throws {
      try withMount(["--region", "demo:64K"]) { mount in
        let client = try mount.client(abi)
        let data = try client.open(mount("demo/data"))
        func wait(_ offset: String, type: Int = 1, nanoseconds: String = "0") throws -> String {
          try client("cond-wait", data, offset, "0", "\(type)", "0", nanoseconds, "7")
        }
        #expect(try wait("0x2001") == "EADDRNOTAVAIL wakes=7")
        #expect(try wait("0x2002") == "EADDRNOTAVAIL wakes=7")
        #expect(try wait("0x10000") == "E2BIG wakes=7")
        #expect(try wait("0xfffffffc") == "E2BIG wakes=7")
        #expect(try wait(Self.a, type: 0) == "EINVAL wakes=7")
        #expect(try wait(Self.a, type: 3) == "EINVAL wakes=7")
        #expect(try wait(Self.a, type: 0xffff_ffff) == "EINVAL wakes=7")
        #expect(try wait(Self.a, type: 2, nanoseconds: "1000000000") == "EINVAL wakes=7")
        #expect(try wait(Self.a, type: 2, nanoseconds: "0xffffffff") == "EINVAL wakes=7")

        #expect(try client("cond-wake", data, "0x2001") == "EADDRNOTAVAIL")
        #expect(try client("cond-wake", data, "0x10000") == "E2BIG")
        #expect(try client("cond-wake", data, "0xfffffffc") == "E2BIG")
        // The last word is one; nobody sleeps there.
        #expect(try client("cond-wake", data, "0xfffc") == "0")
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `a timeout is an absolute time`(_ abi: Client.ABI) throws {
      try withMount { mount in
        let client = try mount.client(abi)
        let data = try client.open(mount("demo/data"))
        #expect(try client("cond-wait", data, Self.a, "0", "2", "0", "0") == "ETIMEDOUT wakes=0")
        #expect(try client("cond-wait", data, Self.a, "0", "2", "1", "0") == "ETIMEDOUT wakes=0")
        let end = try client.number("monotonic") + 200_000_000
        let reply = try client(
          "cond-wait", data, Self.a, "0", "2", "\(end / 1_000_000_000)", "\(end % 1_000_000_000)")
        #expect(reply == "ETIMEDOUT wakes=0")
        let late = try client.number("monotonic") - end
        #expect((0..<2_000_000_000).contains(late), "\(late) ns after the time")
      }
    }

    /// The earliest of many timeouts comes first, wherever it was added.
    @Test func `timeouts end in their order`() throws {
      try withMount { mount in
        let client = try mount.client()
        let data = try client.open(mount("demo/data"))
        let start = try client.number("monotonic")
        for index in [3, 0, 4, 1, 2] {
          let end = start + 300_000_000 + index * 60_000_000
          try client.start(
            "t\(index)", "cond-wait", data, Self.a, "0", "2", "\(end / 1_000_000_000)",
            "\(end % 1_000_000_000)")
        }
        // Never due: the farthest time there is.
        try client.start(
          "never", "cond-wait", data, Self.a, "0", "2", "0x7fffffffffffffff", "999999999")
        for index in 0..<5 {
          let end = start + 300_000_000 + index * 60_000_000
          #expect(try client.asynchronousReply("t\(index)") == "ETIMEDOUT wakes=0")
          #expect(try client.number("monotonic") >= end)
        }
        try client.waitUntilBlocked(threads: 1)
        #expect(try !client.hasReplied)
        let memory = try client("map", data, "0x3000")
        #expect(try client("store", memory, Self.a, "1") == "0")
        #expect(try client("cond-wake", data, Self.a) == "0")
        expectWakes(try client.asynchronousReply("never"), 0...1)
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `a wake ends the wait only where the value has changed`(_ abi: Client.ABI) throws {
      try withMount { mount in
        let (sleeper, waker) = try (mount.client(abi), mount.client(abi))
        // The ends share the sleepers as they share the memory.
        let data = try waker.open(mount("demo/peer/data"))
        let memory = try waker("map", mount.mappable("demo/peer/data"), "0x3000")
        try sleeper.send(
          "cond-wait", sleeper.open(mount("demo/data")), Self.a, "0", "1", "0", "0", "5")
        try sleeper.waitUntilBlocked()
        for _ in 0..<3 { #expect(try waker("cond-wake", data, Self.a) == "0") }
        try sleeper.waitUntilBlocked()
        #expect(try !sleeper.hasReplied)
        #expect(try waker("store", memory, Self.a, "1") == "0")
        #expect(try waker("cond-wake", data, Self.a) == "0")
        expectWakes(try sleeper.reply(), 8...9)
      }
    }

    @Test func `a wake stirs nobody at other offsets`() throws {
      try withMount { mount in
        let client = try mount.client()
        let data = try client.open(mount("demo/data"))
        let memory = try client("map", data, "0x3000")
        try client.start("a", "cond-wait", data, Self.a, "0")
        // The same offset modulo a page, a neighbour, and one far away.
        let others = ["b": Self.b, "c": "0x3000", "d": "0xffffc"]
        for (tag, offset) in others { try client.start(tag, "cond-wait", data, offset, "0") }
        try client.waitUntilBlocked(threads: 4)
        for _ in 0..<10 { #expect(try client("cond-wake", data, Self.a) == "0") }
        #expect(try client("store", memory, Self.a, "1") == "0")
        #expect(try client("cond-wake", data, Self.a) == "0")
        expectWakes(try client.asynchronousReply("a"), 10...11)
        #expect(try !client.hasReplied)
        let whole = try client("map", data, "0x100000")
        for (tag, offset) in others {
          #expect(try client("store", whole, offset, "1") == "0")
          #expect(try client("cond-wake", data, offset) == "0")
          expectWakes(try client.asynchronousReply(tag), 0...1)
        }
      }
    }

    @Test func `a wake ends all sleepers at an offset`() throws {
      try withMount { mount in
        let sleepers = try (mount.client(), mount.client())
        for client in [sleepers.0, sleepers.1] {
          let data = try client.open(mount("demo/data"))
          for tag in ["a", "b", "c"] { try client.start(tag, "cond-wait", data, Self.a, "0") }
        }
        let waker = try mount.client()
        let data = try waker.open(mount("demo/data"))
        let memory = try waker("map", data, "0x3000")
        for client in [sleepers.0, sleepers.1] { try client.waitUntilBlocked(threads: 3) }
        #expect(try waker("store", memory, Self.a, "1") == "0")
        #expect(try waker("cond-wake", data, Self.a) == "0")
        for client in [sleepers.0, sleepers.1] {
          for tag in ["a", "b", "c"] { expectWakes(try client.asynchronousReply(tag), 0...1) }
        }
      }
    }

    @Test func `a futex wake from a mapping ends the wait`() throws {
      try withMount { mount in
        let (sleeper, waker) = try (mount.client(), mount.client())
        let memory = try waker("map", mount.mappable("demo/peer/data"), "0x3000")
        try sleeper.send("cond-wait", sleeper.open(mount("demo/data")), Self.a, "0")
        try sleeper.waitUntilBlocked()
        #expect(try waker("store", memory, Self.a, "1") == "0")
        #expect(try waker.number("futex-wake", memory, Self.a) <= 1)
        expectWakes(try sleeper.reply(), 0...1)
      }
    }

    /// With the value as it was, the sleeper counts the wakeup and goes on sleeping.
    @Test func `a futex wake of an unchanged word is counted`() throws {
      try withMount { mount in
        let (sleeper, waker) = try (mount.client(), mount.client())
        let data = try waker.open(mount("demo/data"))
        let memory = try waker("map", data, "0x3000")
        let sleeping = try sleeper.open(mount("demo/data"))
        try sleeper.start("a", "cond-wait", sleeping, Self.a, "0")
        try sleeper.start("b", "cond-wait", sleeping, Self.b, "0")
        try sleeper.waitUntilBlocked(threads: 2)
        try eventually("a sleeper for the futex wake") {
          try waker.number("futex-wake", memory, Self.a) == 1
        }
        try sleeper.waitUntilBlocked(threads: 2)
        #expect(try !sleeper.hasReplied)
        for offset in [Self.a, Self.b] {
          #expect(try waker("store", memory, offset, "1") == "0")
          #expect(try waker("cond-wake", data, offset) == "0")
        }
        expectWakes(try sleeper.asynchronousReply("a"), 1...2)
        expectWakes(try sleeper.asynchronousReply("b"), 0...1)
      }
    }

    @Test func `a condition wake ends plain futex waits`() throws {
      try withMount { mount in
        let (sleeper, waker) = try (mount.client(), mount.client())
        let memory = try sleeper("map", mount.mappable("demo/peer/data"), "0x3000")
        for tag in ["a", "b"] { try sleeper.start(tag, "futex-wait", memory, Self.a, "0") }
        try sleeper.start("other", "futex-wait", memory, Self.b, "0")
        try sleeper.waitUntilBlocked(in: .futex, threads: 3)
        #expect(try waker("cond-wake", waker.open(mount("demo/data")), Self.a) == "0")
        #expect(try sleeper.asynchronousReply("a") == "0")
        #expect(try sleeper.asynchronousReply("b") == "0")
        try sleeper.waitUntilBlocked(in: .futex)
        #expect(try !sleeper.hasReplied)
      }
    }

    /// More words than fit into one futex_waitv(2) call, twice over.
    @Test func `futex wakes reach sleepers at hundreds of offsets`() throws {
      try withMount { mount in
        let count = 330
        let (sleepers, waker) = try (mount.client(), mount.client())
        let data = try sleepers.open(mount("demo/data"))
        #expect(try sleepers.number("sleepers", data, "\(count)", "0x4000", "64") == count)
        try sleepers.waitUntilBlocked(threads: count)
        let memory = try waker("map", waker.open(mount("demo/data")), "0x100000")
        // Backwards first, then the rest: no order may matter.
        let offsets = (0..<count).map { 0x4000 + $0 * 64 }
        for (index, offset) in (offsets.suffix(100).reversed() + offsets.prefix(230)).enumerated() {
          #expect(try waker("store", memory, "\(offset)", "1") == "0")
          #expect(try waker.number("futex-wake", memory, "\(offset)") <= 1)
          if index == 99 {
            try eventually("100 sleepers woken: \((try? sleepers("crowd")) ?? "")") {
              try sleepers("crowd").hasPrefix("100 0 ")
            }
          }
        }
        try eventually("all sleepers woken: \((try? sleepers("crowd")) ?? "")") {
          try sleepers("crowd").hasPrefix("\(count) 0 ")
        }
      }
    }

    /// The same number of sleepers at one offset, ended by one wake, none of which is lost.
    @Test func `a crowd at one offset is woken by one call`() throws {
      try withMount { mount in
        let count = 200
        let (sleepers, waker) = try (mount.client(), mount.client())
        let data = try sleepers.open(mount("demo/data"))
        #expect(try sleepers.number("sleepers", data, "\(count)", Self.a, "0") == count)
        try sleepers.waitUntilBlocked(threads: count)
        let waking = try waker.open(mount("demo/data"))
        let memory = try waker("map", waking, "0x3000")
        #expect(try waker("store", memory, Self.a, "1") == "0")
        #expect(try waker("cond-wake", waking, Self.a) == "0")
        try eventually("all sleepers woken: \((try? sleepers("crowd")) ?? "")") {
          try sleepers("crowd").hasPrefix("\(count) 0 ")
        }
      }
    }
  }
}
