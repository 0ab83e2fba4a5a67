// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Testing

extension MountTests.Hostile {
  /// One user takes all that he can; another one goes on, and what was taken comes back.
  @Suite struct Greed {
    /// KiB by which the daemon may grow in a test; half of the bytes for calls that wait, and some.
    private static let growth = 80 << 10
    private static let slack = Programs.areSanitized ? 8 : 1

    @Test func `blocked writes of one user are bounded`() throws {
      try withLayout(HostileLayout.text()) { mount in
        let before = Proc.residentMemory(of: mount.pid)
        let long = try mount.attack("park", mount("own/doorbell"), "20", "\((64 << 10) + 1)")
        #expect(try long.line() == "filled")
        try eventually("all are refused") {
          try long.send(line: "")
          return try long.line() == "0 20 EMSGSIZE"
        }
        long.kill()
        // Each keeps 32,768 offsets, of eight bytes.
        let fitting = (16 << 20) / (1024 + 8 * 32_768)
        let park = try mount.attack(
          "park", mount("own/peer/doorbell"), "\(fitting + 20)", "\(64 << 10)")
        #expect(try park.line() == "filled")
        try eventually("20 are refused", within: 60_000) {
          try park.send(line: "")
          return try park.line() == "\(fitting) 20 ENOBUFS"
        }
        #expect(try mount.facts(".vsocfs/stats")["waiting_calls"] == "\(fitting)")
        try mount.victimRings()
        #expect(Proc.residentMemory(of: mount.pid) - before < Self.growth * Self.slack)
        #expect(park.kill())
        try eventually("nobody waits") { try mount.facts(".vsocfs/stats")["waiting_calls"] == "0" }
      }
    }

    @Test func `regions of one user are half of what others than root may make`() throws {
      try withMount(["-o", "mode=0666,size=0", "--region", "victim"]) { mount in
        let count = 3000 / Deadline.slowness
        let grab = try mount.attack("grab", "regions", mount.mountpoint, "\(count)")
        let got = try grab.line(within: 60_000)
        if count == 3000 { #expect(got == "2048 ENOSPC") }
        try mount.victimRings()
        let other = try mount.attack("grab", "regions", mount.mountpoint, "1", as: .victim)
        #expect(try other.line() == "1 -")
        for process in [grab, other] {
          process.closeInput()
          #expect(try process.wait(within: 60_000) == 0)
        }
        try eventually("they are gone") { try mount.facts(".vsocfs/stats")["regions"] == "1" }
      }
    }

    /// A directory of many regions, and a file that tells of all of them, open many times.
    @Test(arguments: ["", ".vsocfs/layout"])
    func `what tells of many regions is kept once`(path: String) throws {
      try withMount(["--region", "victim"]) { mount in
        let client = try mount.client()
        for index in 0..<1000 / Deadline.slowness {
          #expect(try client("mkdir", mount("r\(index)")) == "0")
        }
        let before = Proc.residentMemory(of: mount.pid)
        let grab = try mount.attack("grab", "files", mount(path), "2000")
        #expect(try grab.line(within: 30_000) == "2000 -")
        #expect(Proc.residentMemory(of: mount.pid) - before < (16 << 10) * Self.slack)
        #expect(grab.kill())
      }
    }
  }
}
