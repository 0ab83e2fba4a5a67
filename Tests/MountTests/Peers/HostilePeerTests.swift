// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// Peers that do what they must not. They may spoil the signalling of their own region, and nothing
  /// else; and what they cost goes with them.
  @Suite struct HostilePeers {
    /// Of those who have gone by the time at which it reads it is never told.
    @Test func `one that reads nothing`() throws {
      try withMount { mount in
        // What those who do read cost has come first.
        try mount.python("hostile_machines.py", "crowd", "\(mount.pid)")
        let before = Proc.residentMemory(of: mount.pid)
        try mount.python(
          "hostile_machines.py", "stalled", "\(mount.pid)", "\(4000 / Deadline.slowness)",
          within: 60_000)
        let growth = Proc.residentMemory(of: mount.pid) - before
        #expect(growth < (Programs.areSanitized ? 128 : 16) * 1024, "KiB of growth")
      }
    }

    @Test func `one that talks`() throws {
      try withMount { mount in try mount.python("hostile_machines.py", "garbage", "\(mount.pid)") }
    }

    @Test func `those who leave in the middle of the handshake`() throws {
      try withMount { mount in
        try mount.python("hostile_machines.py", "broken_handshakes", "\(mount.pid)")
      }
    }

    @Test func `many, who leave at once`() throws {
      try withMount { mount in try mount.python("hostile_machines.py", "crowd", "\(mount.pid)") }
    }

    /// An eventfd is as much its readers' as its writers': one at its limit cannot be rung, and without
    /// O_NONBLOCK whoever tries has to wait.
    @Test(arguments: PeerEnd.allCases, ["own", "other"])
    func `one that spoils a doorbell`(_ end: PeerEnd, _ bell: String) throws {
      try withMount(["--region", "demo", "--region", "good"]) { mount in
        try mount.python("hostile_machines.py", "poisoned", end.rawValue, bell)
      }
    }

    @Test func `a host client that spoils its doorbell`() throws {
      try withHostSocket { mount, path in
        try mount.python("host_clients.py", "stalled", path, "\(mount.pid)")
      }
    }

    /// Both ends of a region are rung as fast as can be. Those of another one must not notice.
    @Test func `one that rings without end`() throws {
      try withMount(["--region", "demo", "--region", "good:64K"]) { mount in
        let pingPong = try PingPong(in: "good", of: mount, rounds: 300)
        let (near, rounds) = (pingPong.near, pingPong.rounds)
        try pingPong()
        let quietBefore = Proc.cpuTime(of: mount.pid)
        try pingPong()
        let quiet = (Proc.cpuTime(of: mount.pid) - quietBefore) / Double(rounds)

        // Who waits in the flooded region: some poll, and some read all that comes.
        let waiting = try mount.client()
        for end in ["demo/", "demo/peer/"] {
          let bell = try waiting.open(mount(end + "doorbell"), "rw,nonblock")
          try waiting.start(end, "drink", bell, "3000")
          let idle = try waiting.open(mount(end + "doorbell"))
          #expect(try waiting("poll", idle, "in", "0") == "none")
        }

        let memoryBefore = Proc.residentMemory(of: mount.pid)
        let flood = try mount.startPython("hostile_machines.py", ["flood", "2000"])
        #expect(try flood.line() == "ready")
        let cpuBefore = Proc.cpuTime(of: mount.pid)
        let start = try near.number("monotonic")
        try flood.send(line: "")
        var loudRounds = 0
        while try !flood.hasLine {
          try pingPong()
          loudRounds += rounds
        }
        let elapsed = Double(try near.number("monotonic") - start) / 1e6
        let cpu = Proc.cpuTime(of: mount.pid) - cpuBefore
        let rings = try flood.line()
        #expect(try #require(Int(rings)) > 1000)
        #expect(loudRounds >= 2 * rounds, "ping-pong rounds in \(elapsed) ms")
        // What the good region costs, those who look at the bad one, and one processor for its bells.
        #expect(
          cpu < elapsed * 2.2 + quiet * Double(loudRounds) * 3,
          "CPU ms of the daemon in \(elapsed) ms, \(loudRounds) rounds")
        for end in ["demo/", "demo/peer/"] {
          #expect(try waiting.number(reply: waiting.asynchronousReply(end)) >= 0)
        }
        // The peers are there still, and are quiet.
        try expectIdle(mount, milliseconds: 500)
        let growth = Proc.residentMemory(of: mount.pid) - memoryBefore
        #expect(growth < (Programs.areSanitized ? 128 : 16) * 1024, "KiB of growth")
        try flood.send(line: "")
        #expect(try flood.wait() == 0)
        try pingPong()
      }
    }
  }
}
