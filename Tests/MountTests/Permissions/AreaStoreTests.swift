// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// Areas of regions that outlive the daemon.
  @Suite struct AreaStores {
    private enum Ending: String, CaseIterable, CustomTestStringConvertible {
      case kill = "SIGKILL"
      case term = "SIGTERM"

      var testDescription: String { rawValue }
    }

    /// Runs daemons on one store one after the other.
    private func withDaemons(
      _ body: ((_ body: (MountedDaemon) throws -> Void) throws -> Void, _ store: String) throws ->
        Void
    ) throws {
      let directory = try TemporaryDirectory()
      let mountpoint = directory.path + "/mnt"
      unsafe mkdir(mountpoint, 0o755)
      let layout = directory.path + "/layout.json5"
      try createFile(layout, Managed.layout)
      let store = directory.path + "/store"
      var isFirst = true
      try body(
        { test in
          let mount = try MountedDaemon(
            ["--store", store] + (isFirst ? ["--layout", layout] : []), at: mountpoint,
            in: directory)
          isFirst = false
          defer { mount.clearAway() }
          try test(mount)
        }, store)
    }

    private static let first = Claim(begin: 0x4000, end: 0x8000, owner: 0x2000, value: 1)
    private static let second = Claim(begin: 0x8000, end: 0x9000, owner: 0x2004, value: 2)
    private static let third = Claim(begin: 0x20000, end: 0x40000, owner: 0xfffc, value: 3)

    /// Lines of the daemon that comes after a dead one.
    private static let endOfTheDead = [
      "dead", "stale", "detach", "still: freed", "still: brought back",
    ]

    /// What holders have written by then is there, whoever they are and however they wrote it; nobody
    /// holds anything any more.
    @Test(arguments: Ending.allCases, [false, true])
    private func `contents of areas survive, permissions do not`(
      _ ending: Ending, _ holdersGoFirst: Bool
    ) throws {
      try withDaemons { withDaemon, _ in
        for round in 1...3 {
          let (one, two) = try (Client(), Client())
          try withDaemon { mount in
            if round > 1 && ending == .kill {
              mount.expectedLogLines = Self.endOfTheDead
            }
            #expect(try mount.table() == [])
            let facts = try mount.facts("buffers/info")
            #expect(facts["permissions"] == "0")
            for claim in [Self.first, Self.second, Self.third] {
              #expect(try mount.ownerWord(claim.owner) == 0, "round \(round)")
            }
            let mapped = try one.hold(mount, Self.first)
            let written = try one.hold(mount, Self.second, .manager)
            let given = try two.hold(mount, Self.third, .own)
            if round > 1 {
              let before = round - 1
              #expect(try one("differ", mapped, "\(0x10 + before)") == "16384 0")
              #expect(try one("differ", written, "\(0x20 + before)") == "4096 0")
              #expect(try two("differ", given, "\(0x30 + before)") == "131072 0")
            }
            let memory = try one("map", mapped, "0x4000")
            #expect(
              try one("touch-all", memory, "0x4000", "write", "\(0x10 + round)") == "4w")
            #expect(try one("fill", written, "\(0x20 + round)", "4096", "0") == "4096")
            #expect(try two("fill", given, "\(0x30 + round)", "131072", "0") == "131072")
            // One was given back before.
            #expect(try two("release", "ioctl", given) == "0")
            if holdersGoFirst {
              one.kill()
              two.kill()
            }
            switch ending {
            case .kill: mount.process.kill()
            case .term: mount.terminate()
            }
            one.kill()
            two.kill()
          }
        }
      }
    }

    /// Where the memory is a file, a holder's mapping outlives the daemon; it reaches the area that it
    /// was, and nothing of the next daemon's owners.
    @Test func `a mapping that outlives the daemon reaches nobody`() throws {
      guard MountMode.current == .passthrough else { return }
      try withDaemons { withDaemon, _ in
        let client = try Client()
        var memory = ""
        try withDaemon { mount in
          let fd = try client.hold(mount, Self.first)
          memory = try client("map", fd, "0x40000")
          #expect(try client("touch-all", memory, "0x40000", "write", "0x41") == "4w 60b")
          mount.process.kill()
        }
        try withDaemon { mount in
          mount.expectedLogLines = Self.endOfTheDead
          let next = try mount.client()
          let fd = try next.hold(mount, Claim(begin: 0x2000, end: 0x40000))
          let area = try next("map", fd, "0x4000", "0x2000")
          #expect(try next("touch-all", area, "0x4000", "read", "0x41") == "4r")
          #expect(try client("touch-all", memory, "0x4000", "write", "0x42").hasSuffix("4w"))
          #expect(try next("touch-all", area, "0x4000", "read", "0x41") == "4r")
        }
        client.kill()
      }
    }

    /// Owner words that were held when the daemon was killed are free at the next start; others are as
    /// they were.
    @Test func `owner words of a dead daemon's permissions are freed`() throws {
      try withDaemons { withDaemon, store in
        let client = try Client()
        try withDaemon { mount in
          let manager = try client("map", client.open(mount("manager/data")), "65536")
          _ = try client.hold(mount, Self.first)
          _ = try client.hold(mount, Self.third, .text)
          #expect(try client("store", manager, "0x2004", "77") == "0")
          #expect(try client("load", manager, "0x2000") == "1")
          #expect(try client("load", manager, "0xfffc") == "3")
          #expect(try client("sync", manager, "0x2000") == "0")
          mount.process.kill()
        }
        client.kill()
        try withDaemon { mount in
          mount.expectedLogLines = Self.endOfTheDead
          // Each is told of.
          let freed = mount.log.split(separator: "\n").filter { $0.contains("freed") }
          #expect(freed.count == 2, "\(mount.log)")
          let words = try [0x2000, 0x2004, 0xfffc].map { try mount.ownerWord($0) }
          #expect(words == [0, 77, 0])
          let next = try mount.client()
          _ = try next.hold(mount, Self.first)
          #expect(
            try next.claim(Self.second, for: next.open(mount("buffers/data"))) == "EAGAIN")
        }
        // No area's file is left behind.
        #expect(names(in: store + "/areas") == [])
        let files = names(in: store + "/regions").sorted()
        #expect(files == ["buffers.region", "manager.region", "plain.region"])
      }
    }
  }
}
