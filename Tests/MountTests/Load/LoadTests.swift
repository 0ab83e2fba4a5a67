// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Testing

extension MountTests {
  /// A hostile client, and a crowd of idle ones.
  @Suite struct Load {
    /// The daemon maps the region for the first of them; where its own mapping is one of the mount,
    /// nothing that it does for that may wait for itself.
    @Test(OnlyInMode(.pageCache)) func `a crowd opens a region that nobody has used`() throws {
      for _ in 0..<max(40 / Deadline.slowness, 1) {
        try withMount { mount in
          let crowds = try ["demo", "demo/peer"].map { end in
            try ChildProcess(
              "/usr/bin/env",
              [
                "python3", Programs.script("first_opens.py"), mount(end), "200",
              ])
          }
          for crowd in crowds {
            #expect(try crowd.line(within: 20_000) == "open")
            #expect(try crowd.wait() == 0)
          }
        }
      }
    }

    /// One client scribbles over a whole region and rings as fast as it can; its region has pollers
    /// and sleepers. Those of another region must not notice.
    @Test func `a scribbler spoils nothing but its own region`() throws {
      try withMount(["--region", "good:64K", "--region", "bad:1M"]) { mount in
        let pingPong = try PingPong(in: "good", of: mount, rounds: 500)
        let (near, rounds) = (pingPong.near, pingPong.rounds)
        func measure(_ body: () throws -> Void) throws -> Double {
          let before = Proc.cpuTime(of: mount.pid)
          try body()
          return Proc.cpuTime(of: mount.pid) - before
        }
        try pingPong()
        let quiet = try measure { try pingPong() } / Double(rounds)

        // Those who wait in the bad region. They may get anything, but they get it.
        let waiting = try mount.client()
        for end in ["bad/", "bad/peer/"] {
          let bell = try waiting.open(mount(end + "doorbell"), "rw,nonblock")
          let signal = try waiting.open(mount(end + "signal"), "rw,nonblock")
          try waiting.start(end + "bell", "drink", bell, "3000")
          try waiting.start(end + "signal", "drink", signal, "3000")
        }
        let sleeping = try waiting.open(mount("bad/data"))
        #expect(try waiting.number("sleepers", sleeping, "50", "0x2000", "256") == 50)

        let memoryBefore = Proc.residentMemory(of: mount.pid)
        let cpuBefore = Proc.cpuTime(of: mount.pid)
        let start = try near.number("monotonic")
        let scribbler = try mount.client()
        let data = try scribbler.open(mount("bad/data"))
        let memory = try scribbler("map", data, "0x100000")
        // Half of the time with rings, then from the mapping alone.
        try scribbler.send("scribble", memory, "0x100000", "1500", "12345", data)
        var loudRounds = 0
        while try !scribbler.hasReplied {
          try pingPong()
          loudRounds += rounds
        }
        #expect(try scribbler.number(reply: scribbler.reply()) > 0)
        try scribbler.send("scribble", memory, "0x100000", "1500", "54321")
        while try !scribbler.hasReplied {
          try pingPong()
          loudRounds += rounds
        }
        #expect(try scribbler.number(reply: scribbler.reply()) > 0)
        let elapsed = Double(try near.number("monotonic") - start) / 1e6
        let cpu = Proc.cpuTime(of: mount.pid) - cpuBefore

        for end in ["bad/", "bad/peer/"] {
          for stream in ["bell", "signal"] {
            #expect(try waiting.number(reply: waiting.asynchronousReply(end + stream)) >= 0)
          }
        }
        // The sleepers' words have changed, and every offset of the region was rung for or not:
        // whoever still sleeps is woken by the rules.
        let waker = try mount.client()
        let waking = try waker.open(mount("bad/data"))
        let mine = try waker("map", waking, "0x100000")
        for index in 0..<50 {
          let offset = "\(0x2000 + index * 256)"
          #expect(try waker("store", mine, offset, "1") == "0")
          #expect(try waker("cond-wake", waking, offset) == "0")
        }
        try eventually("all sleepers are back") { try waiting("crowd").hasPrefix("50 0 ") }

        #expect(loudRounds >= 2 * rounds, "ping-pong rounds in \(elapsed) ms")
        let memoryGrowth = Proc.residentMemory(of: mount.pid) - memoryBefore
        #expect(memoryGrowth < 32 * 1024, "KiB of growth")
        // What the good region costs, and at most one processor for the bad one.
        #expect(
          cpu < elapsed * 1.2 + quiet * Double(loudRounds) * 3,
          "CPU ms of the daemon in \(elapsed) ms, \(loudRounds) rounds")
        // And when it is over it is over.
        try expectIdle(mount, milliseconds: 500)

        // Nothing of it has come to the good region.
        let facts = try mount.facts("good/info")
        #expect(facts["size"] == "65536" && facts["data_offset"] == "8192")
        try pingPong()
        #expect(try waker("describe", waking).contains(" 1048576 8192 "))
      }
    }

    /// The daemon's state must not grow with what a hostile sender makes up.
    @Test func `offsets that nobody reads are bounded`() throws {
      try withMount(["--region", "bad:4M"]) { mount in
        let client = try mount.client()
        // Handles that never read, while another one drains all the time.
        for _ in 0..<4 { _ = try client.open(mount("bad/peer/doorbell")) }
        let fast = try client.open(mount("bad/peer/doorbell"), "rw,nonblock")
        let data = try client.open(mount("bad/data"))
        let memory = try client("map", data, "0x400000")
        try client.start("drink", "drink", fast, "1200")
        let before = Proc.residentMemory(of: mount.pid)
        #expect(
          try client.number(
            reply: client("scribble", memory, "0x2000", "1000", "99", data)) > 0)
        #expect(try client.number(reply: client.asynchronousReply("drink")) > 0)
        // The sanitizers keep freed memory for each thread.
        let limit = Programs.areSanitized ? 128 * 1024 : 32 * 1024
        #expect(Proc.residentMemory(of: mount.pid) - before < limit, "KiB of growth")
      }
    }

    @Test func `a thousand idle pollers cost nothing`() throws {
      try withMount { mount in
        let client = try mount.client()
        let count = 1000
        #expect(try client.number("pollers", mount("demo/doorbell"), "\(count)") == count)
        try client.waitUntilBlocked(in: .poll, threads: count, within: 30_000)
        let before = Proc.cpuTime(of: mount.pid)
        try expectIdle(mount, milliseconds: 2000)
        #expect(Proc.cpuTime(of: mount.pid) - before <= 10)
        #expect(try client("crowd") == "0 0 0")
        // They are all there, and all wake.
        #expect(try client("write", mount("demo/peer/doorbell"), "0\n") == "2")
        try eventually("all pollers are back: \((try? client("crowd")) ?? "")", within: 20_000) {
          try client("crowd") == "\(count) 0 0"
        }
      }
    }

    /// Sleepers, parked calls and timers in the far future cost nothing either.
    @Test func `parked calls cost nothing`() throws {
      try withMount { mount in
        let client = try mount.client()
        let data = try client.open(mount("demo/data"))
        #expect(try client.number("sleepers", data, "300", "0x4000", "64") == 300)
        let bell = try client.open(mount("demo/doorbell"))
        let signal = try client.open(mount("demo/signal"))
        try client.start("a", "read", bell, "100")
        try client.start("b", "read", signal, "100")
        try client.start("c", "wait-incoming", data)
        try client.start("d", "cond-wait", data, "0x3000", "0", "2", "0x7fffffff", "0")
        try client.waitUntilBlocked(threads: 304)
        try expectIdle(mount, milliseconds: 1000)
      }
    }

    /// Two regions' doorbells from both ends at once, with every kind of client in between.
    @Test func `many clients at once`() throws {
      try withMount(["--region", "a", "--region", "b", "--region", "c"]) { mount in
        var clients: [Client] = []
        for region in ["a", "b", "c"] {
          let (near, far) = try (mount.client(), mount.client())
          try far.send(
            "pingpong", far.open(mount(region + "/peer/doorbell")), "800", "0x2000", "serve")
          try near.send(
            "pingpong", near.open(mount(region + "/doorbell")), "800", "0x2000", "start")
          clients += [near, far]
        }
        let maker = try mount.shell(
          """
          for i in $(seq 40); do
            mkdir $M/t$i; truncate -s 64K $M/t$i/data; cat $M/t$i/info > /dev/null
            ls -l $M $M/t$i > /dev/null; chmod 700 $M/t$i; cat $M/.vsocfs/* > /dev/null
          done
          until rmdir $M/t* 2> /dev/null; [ $(ls $M | wc -l) = 3 ]; do :; done
          """, within: 30_000)
        #expect(maker.status == 0, "\(maker.output)")
        #expect(maker.output == "")
        for client in clients { #expect(try client.reply(within: 30_000) == "800") }
      }
    }
  }
}
