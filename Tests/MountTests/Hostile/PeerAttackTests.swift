// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// What peers, and those who could be some, do to others.
  @Suite struct PeerAttacks {
    /// A machine of the victim's is let in, soon.
    private func expectMachine(
      _ mount: MountedDaemon, _ end: String = "victim", within milliseconds: Int = 5000,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      let machine = try mount.attack("idle", "1", mount(end + "/ivshmem"), as: .victim)
      defer { machine.kill() }
      #expect(
        try machine.line(within: milliseconds) == "1 connected", sourceLocation: sourceLocation)
      #expect(try machine.line(within: milliseconds) == "1 served", sourceLocation: sourceLocation)
    }

    @Test(arguments: [".vsocfs", "own", ""])
    func `a directory whose lock is held keeps nobody from connecting`(_ held: String) throws {
      try withLayout(HostileLayout.text()) { mount in
        // The ways to them are known.
        try mount.victimRings(10)
        try expectMachine(mount)
        let slow = try SlowPages()
        let lister = try mount.attack("list", mount(held), slow.page())
        #expect(try lister.line() == "begins")
        try Proc.waitForSleepers(lister.pid, at: .request, count: 1)
        let changer = try mount.attack("change", mount(held))
        #expect(try changer.line() == "begins")
        for end in ["victim", "victim/peer"] { try expectMachine(mount, end) }
        try mount.victimRings()
        if held != "" {
          #expect(try mount.shell("ls -l $M/victim $M/victim/peer > /dev/null").status == 0)
        }
        try slow.letGo()
        #expect(try lister.wait() == 0)
        _ = try changer.wait()
      }
    }

    @Test func `one user does not take all connections`() throws {
      try withLayout(HostileLayout.text(), through: ["prlimit", "--nofile=2032"]) { mount in
        mount.expectedLogLines = ["connections are taken", "cannot be given"]
        let crowd = try mount.attack(
          "idle", "400", mount("own/ivshmem"), mount("own/peer/ivshmem"))
        #expect(try crowd.line() == "400 connected")
        #expect(try crowd.line() == "125 served")
        #expect(mount.log.contains("one of user 33 is refused"))
        try expectMachine(mount)
        try expectMachine(mount, "victim/peer")
        try mount.victimRings()
        crowd.kill()
        try eventually("they are gone") {
          try mount.facts(".vsocfs/stats")["peers_vm"] == "0"
        }
      }
    }

    /// Each of them is to be told of half of the others.
    @Test func `a crowd that reads nothing costs little`() throws {
      let count = 2000 / Deadline.slowness
      try withLayout(HostileLayout.text(), ["--region", "demo"]) { mount in
        let memory = Proc.residentMemory(of: mount.pid)
        let cpu = Proc.cpuTime(of: mount.pid)
        let crowd = try mount.attack(
          "idle", "\(count)", mount("demo/ivshmem"), mount("demo/peer/ivshmem"), as: nil)
        #expect(try crowd.line(within: 20_000) == "\(count) connected")
        try expectMachine(mount)
        #expect(try crowd.line(within: 20_000) == "\(count) served")
        try mount.victimRings()
        if !Programs.areSanitized {
          #expect(Proc.residentMemory(of: mount.pid) - memory < 30 * 1024, "KiB of growth")
          #expect(
            Proc.cpuTime(of: mount.pid) - cpu < Double(3000 * Deadline.slowness), "ms of CPU")
        }
        // They go all at once, and each would be told of the others.
        crowd.kill()
        try eventually("they are gone") {
          try mount.facts(".vsocfs/stats")["peers_vm"] == "0"
        }
        try expectMachine(mount)
      }
    }

    @Test func `a crowd that reads nothing does not keep the daemon from ending`() throws {
      try withMount { mount in
        mount.expectedLogLines = ["connections are taken"]
        let crowd = try mount.attack(
          "idle", "1000", mount("demo/ivshmem"), mount("demo/peer/ivshmem"), as: nil)
        #expect(try crowd.line(within: 20_000) == "1000 connected")
        mount.terminate()
      }
    }

    @Test func `a flood of connections keeps nobody else out`() throws {
      try withLayout(HostileLayout.text()) { mount in
        let floods = try ["own", "own/peer"].map {
          try mount.attack("flood", "3", mount($0 + "/ivshmem"))
        }
        for flood in floods { #expect(try flood.line() == "begins") }
        for _ in 0..<5 { try expectMachine(mount) }
        try mount.victimRings()
        for flood in floods { _ = try flood.line(within: 20_000) }
        #expect(mount.log.split(separator: "\n").count < 60)
      }
    }

    @Test func `a bell that cannot be rung keeps nobody waiting`() throws {
      try withLayout(HostileLayout.text()) { mount in
        let bad = try mount.attack("bell", mount("own/ivshmem"))
        #expect(try bad.line() == "ready")
        let ringer = try ChildProcess(
          "/bin/sh",
          ["-c", "for i in 1 2 3 4 5 6 7 8; do echo 0 > \(mount("own/peer/doorbell")); done"],
          as: .attacker)
        #expect(try ringer.wait() == 0)
        try mount.victimRings()
        bad.kill()
      }
    }
  }
}
