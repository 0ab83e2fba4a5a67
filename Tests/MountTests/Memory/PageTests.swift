// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// Pages of `data` come and go, and so do daemons, while everything is in use. Where the page cache
  /// is the memory, the daemon waits for itself in each of these: nobody may hang.
  @Suite struct Pages {
    /// Storms on a region's pages, and a ping-pong over its doorbells.
    private func withStorm(
      _ mount: MountedDaemon, milliseconds: Int, _ body: () throws -> Void
    ) throws -> [String] {
      var storms: [Client] = []
      for seed in 1...3 {
        let storm = try mount.client()
        try storm.send("storm", mount("demo/data"), "\(milliseconds)", "\(seed)")
        storms.append(storm)
      }
      try body()
      return try storms.map { try $0.reply(within: milliseconds + 20_000) }
    }

    private func pingPong(_ mount: MountedDaemon, rounds: Int) throws {
      let (near, far) = try (mount.client(), mount.client())
      try far.send(
        "pingpong", far.open(mount("demo/peer/doorbell")), "\(rounds)", "0x2000", "serve")
      let reply = try near(
        "pingpong", near.open(mount("demo/doorbell")), "\(rounds)", "0x2000", "start",
        within: 60_000)
      #expect(reply == "\(rounds)")
      #expect(try far.reply() == "\(rounds)")
      near.kill()
      far.kill()
    }

    @Test func `doorbells work while pages come and go`() throws {
      try withMount(["--region", "demo:256K"]) { mount in
        let replies = try withStorm(mount, milliseconds: 2000) {
          for _ in 0..<3 { try pingPong(mount, rounds: 200) }
        }
        for reply in replies { #expect(Int(reply) ?? 0 > 0, "\(reply)") }
        let facts = try mount.facts("demo/info")
        #expect(facts["size"] == "262144")
      }
    }

    /// Sleepers and their wakes are on words anywhere.
    @Test func `conditions work while pages come and go`() throws {
      try withMount(["--region", "demo:256K"]) { mount in
        let replies = try withStorm(mount, milliseconds: 1500) {
          let sleeper = try mount.client()
          let waker = try mount.client()
          let data = try sleeper.open(mount("demo/data"))
          let memory = try waker("map", mount("demo/data"), "0x40000")
          let waking = try waker.open(mount("demo/data"))
          for round in 0..<20 {
            // Beyond what the storm writes to.
            let offset = "\(0x1000 + 0xe00)"
            let (before, after) = ("\(round % 2)", "\(1 - round % 2)")
            try sleeper.send("cond-wait", data, offset, before)
            try sleeper.waitUntilBlocked()
            #expect(try waker("store", memory, offset, after) == "0")
            #expect(try waker("cond-wake", waking, offset) == "0")
            _ = try sleeper.reply()
          }
        }
        for reply in replies { #expect(Int(reply) ?? 0 > 0, "\(reply)") }
      }
    }

    @Test(arguments: [SIGTERM, SIGKILL])
    func `the daemon ends at once under load`(_ signal: Int32) throws {
      for round in 0..<4 {
        let directory = try TemporaryDirectory()
        let mountpoint = directory.path + "/mnt"
        unsafe mkdir(mountpoint, 0o755)
        let mount = try MountedDaemon(["--region", "demo:256K"], at: mountpoint, in: directory)
        defer { mount.clearAway() }
        let replies = try withStorm(mount, milliseconds: 30_000) {
          let bells = try mount.client()
          try bells.start("drink", "drink", bells.open(mount("demo/doorbell")), "30000")
          try eventually("storms") {
            try Int(mount.facts(".vsocfs/stats")["open_files"] ?? "") ?? 0 >= 4
          }
          mt_sleep(Int32(30 + 40 * round))
          mount.process.signal(signal)
          _ = try mount.process.wait(within: 10_000)
          bells.kill()
        }
        // They hear of it one way or the other; where the memory is a file they may go on.
        for reply in replies where mount.mode == .pageCache {
          let words = reply.split(separator: " ")
          #expect(words.last == "bus" || words.last?.hasPrefix("E") == true, "\(reply)")
        }
      }
    }

    /// Whoever has the memory mapped keeps what is there.
    @Test func `mappings survive the daemon's death`() throws {
      try withMount(["--region", "demo:256K"]) { mount in
        let client = try mount.client()
        let memory = try client("map", mount("demo/data"), "0x40000")
        #expect(try client("sow", memory, "0x2000", "0x3e000", "5") == "0")
        mount.process.signal(SIGKILL)
        _ = try mount.process.wait()
        #expect(try client("reap", memory, "0x2000", "0x3e000", "5") == "0")
        #expect(try client("sow", memory, "0x2000", "0x3e000", "6") == "0")
        #expect(try client("reap", memory, "0x2000", "0x3e000", "6") == "0")
      }
    }

    /// What a client has stored is there for the next one, whatever the kernel keeps meanwhile.
    @Test func `what was stored is kept without users`() throws {
      try withMount(["--region", "demo:8M"]) { mount in
        let first = try mount.client()
        let memory = try first("map", mount("demo/data"), "0x800000")
        #expect(try first("sow", memory, "0x2000", "0x7fe000", "9") == "0")
        #expect(
          try first("fill", first.open(mount("demo/peer/data")), "0x77", "4096", "0x100000")
            == "4096")
        first.kill()
        try createFile("/proc/sys/vm/drop_caches", "3\n")
        let second = try mount.client()
        let again = try second("map", mount("demo/data"), "0x800000")
        #expect(try second("reap", again, "0x2000", "0xfe000", "9") == "0")
        #expect(try second("peek", again, "0x100000", "4") == "77777777")
        #expect(try second("reap", again, "0x101000", "0", "9") == "0")
      }
    }

    @Test func `a client with little memory stores more than it may have`() throws {
      // The sanitizers' own memory is a multiple of what is stored.
      guard !Programs.areSanitized, let group = try MemoryGroup(limit: 24 << 20) else { return }
      try withMount(["--region", "demo:128M"]) { mount in
        let client = try mount.client()
        // In passthrough mode memfd pages are the client's, and have nowhere to go.
        guard mount.mode == .pageCache else { return }
        try group.add(client.pid)
        let memory = try client("map", mount("demo/data"), "0x8000000")
        for seed in ["1", "2"] {
          #expect(
            try client("sow", memory, "0x2000", "0x7ffe000", seed, within: 120_000) == "0")
          #expect(
            try client("reap", memory, "0x2000", "0x7ffe000", seed, within: 120_000) == "0")
        }
        try pingPong(mount, rounds: 50)
      }
    }
  }
}
