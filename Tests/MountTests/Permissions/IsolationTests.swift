// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// What a descriptor of a managed region reaches: its area, and nothing else.
  @Suite struct Isolation {
    /// Four areas side by side; `mine` is the one whose holder tries to reach the others.
    private static let below = Claim(begin: 0x2000, end: 0x4000, owner: 0x2000, value: 1)
    private static let mine = Claim(begin: 0x4000, end: 0x8000, owner: 0x2004, value: 2)
    private static let above = Claim(begin: 0x8000, end: 0x9000, owner: 0x2008, value: 3)
    private static let rest = Claim(begin: 0x9000, end: 0x40000, owner: 0x200c, value: 4)

    private func fill(
      _ client: Client, _ mount: MountedDaemon, _ claim: Claim,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> String {
      let fd = try client.hold(mount, claim, sourceLocation: sourceLocation)
      #expect(
        try client("fill", fd, "\(0x11 * claim.value)", "\(claim.length)", "0")
          == "\(claim.length)", sourceLocation: sourceLocation)
      return fd
    }

    private func neighbours(_ mount: MountedDaemon, _ body: () throws -> Void) throws {
      let client = try mount.client()
      let held = try [Self.below, Self.above, Self.rest].map { claim in
        (claim, try fill(client, mount, claim))
      }
      try body()
      for (claim, fd) in held {
        #expect(
          try client("differ", fd, "\(0x11 * claim.value)") == "\(claim.length) 0",
          "\(claim.shown)")
        #expect(try client("release", "ioctl", fd) == "0")
      }
    }

    /// What the next owners find: four areas in whole pages of the bytes that belong there.
    private func expectAllAsWritten(
      _ mount: MountedDaemon, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      let client = try mount.client()
      // Each alone, then all of them in one.
      for claim in [Self.below, Self.mine, Self.above, Self.rest] {
        let fd = try client.hold(mount, claim, sourceLocation: sourceLocation)
        #expect(
          try client("differ", fd, "\(0x11 * claim.value)") == "\(claim.length) 0",
          "\(claim.shown)", sourceLocation: sourceLocation)
        #expect(try client("release", "ioctl", fd) == "0", sourceLocation: sourceLocation)
      }
      let all = try client.hold(
        mount, Claim(begin: 0x2000, end: 0x40000), sourceLocation: sourceLocation)
      for (byte, pages) in [(0x11, "2r 60x"), (0x22, "2x 4r 56x"), (0x33, "6x 1r 55x")] {
        #expect(
          try client("touch-offsets", all, "0x3e000", "read", "\(byte)") == pages,
          sourceLocation: sourceLocation)
      }
    }

    @Test(arguments: ["data", "peer/data"], Client.ABI.allCases)
    func `a holder reaches its area alone`(_ file: String, _ abi: Client.ABI) throws {
      try withManaged { mount in
        try neighbours(mount) {
          let client = try mount.client(abi)
          let fd = try client.open(mount("buffers/" + file))
          // More than the whole region, mapped before there is anything in it.
          let length = "\(Managed.size + 0x100000)"
          let early = try client("map", fd, length)
          #expect(try client("touch-all", early, length, "read", "0x22") == "320b")
          #expect(try client.claim(Self.mine, for: fd) == "0")
          #expect(
            try client("fill", fd, "0x22", "\(Self.mine.length)", "0") == "\(Self.mine.length)")
          let late = try client("map", fd, length)
          for memory in [early, late] {
            #expect(try client("touch-all", memory, length, "read", "0x22") == "4r 316b")
            #expect(try client("touch-all", memory, length, "write", "0x22") == "4w 316b")
          }
          #expect(try client("touch-offsets", fd, length, "read", "0x22") == "4r 316b")
          #expect(try client("touch-offsets", fd, length, "write", "0x22") == "4w 316b")
          let calls = try client(
            "edges", fd, "\(Self.mine.length)", "0x22",
            mount.mode == .passthrough ? "whole" : "short")
          #expect(Int(calls) ?? 0 > 500, "\(calls)")
          // Nor does it get longer in any other way.
          #expect(try client("write", fd, "x", "\(Self.mine.length)") == "EPERM")
          #expect(try client("seek", fd, "0", "end") == "\(Self.mine.length)")
          for size in ["0x1000", "0x8000", "0x40000"] {
            #expect(try client("ftruncate", fd, size).hasPrefix("E"), "\(size)")
          }
          // As O_TRUNC does: nothing.
          #expect(try client("ftruncate", fd, "0") == "0")
          #expect(try client("stat", fd).contains(" \(Self.mine.length) "))
          #expect(try client("differ", fd, "0x22") == "\(Self.mine.length) 0")
          #expect(try client("touch-offsets", fd, length, "read", "0x22") == "4r 316b")
          client.kill()
        }
        try mount.waitUntilFree()
        try expectAllAsWritten(mount)
      }
    }

    /// A mapping of `permissions` likewise.
    @Test func `a mapping of permissions is its area alone`() throws {
      guard MountMode.current == .passthrough else { return }
      try withManaged { mount in
        try neighbours(mount) {
          let client = try mount.client()
          let fd = try client.open(mount("buffers/permissions"))
          let length = "\(Managed.size + 0x100000)"
          let memory = try client("map", fd, length)
          #expect(try client("touch-all", memory, length, "write", "0x22") == "320b")
          #expect(try client.claim(Self.mine, .text, for: fd) == "0")
          #expect(try client("touch-all", memory, length, "write", "0x22") == "4w 316b")
          #expect(try client("touch-offsets", fd, length, "read", "0x22") == "4r 316b")
          client.kill()
        }
        try mount.waitUntilFree()
        try expectAllAsWritten(mount)
      }
    }

    /// Every other length and place of an area, with the same tries.
    @Test func `areas of all sizes end where they end`() throws {
      try withManaged { mount in
        let client = try mount.client()
        for (page, pages) in [(2, 1), (2, 2), (3, 5), (61, 3), (63, 1), (2, 62)] {
          let claim = Claim(begin: page * 0x1000, end: (page + pages) * 0x1000)
          let fd = try client.hold(mount, claim)
          #expect(try client("fill", fd, "0x77", "\(claim.length)", "0") == "\(claim.length)")
          #expect(
            try client("touch-offsets", fd, "\(70 * 0x1000)", "read", "0x77")
              == "\(pages)r \(70 - pages)b")
          let calls = try client(
            "edges", fd, "\(claim.length)", "0x77",
            mount.mode == .passthrough ? "whole" : "short")
          #expect(Int(calls) ?? 0 > 200, "\(calls)")
          #expect(try client("stat", fd).contains(" \(claim.length) "))
          #expect(try client("close", fd) == "0")
          try mount.waitUntilFree()
        }
      }
    }

    @Test(arguments: Client.ABI.allCases)
    func `nothing is reached without a permission`(_ abi: Client.ABI) throws {
      try withManaged { mount in
        let filler = try mount.client()
        let all = Claim(begin: 0x2000, end: Managed.size)
        let filled = try filler.hold(mount, all)
        #expect(try filler("fill", filled, "0x5a", "\(all.length)", "0") == "\(all.length)")
        let length = "\(Managed.size)"
        func expectNothing(
          _ client: Client, _ fd: String, sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
          #expect(try client("read", fd, "100") == "", sourceLocation: sourceLocation)
          for offset in ["0", "0x2000", "0x4000", "0x3ffff", "0x40000", "0x100000000"] {
            #expect(try client("read", fd, "100", offset) == "", sourceLocation: sourceLocation)
            #expect(
              try client("write", fd, "x", offset) == "EPERM", "at \(offset)",
              sourceLocation: sourceLocation)
          }
          #expect(try client("write", fd, "x") == "EPERM", sourceLocation: sourceLocation)
          #expect(
            try client("fill", fd, "1", "8192", "0") == "EPERM", sourceLocation: sourceLocation)
          let memory = try client("map", fd, length)
          for way in ["read", "write"] {
            #expect(
              try client("touch-all", memory, length, way, "0x5a") == "64b",
              sourceLocation: sourceLocation)
            #expect(
              try client("touch-offsets", fd, length, way, "0x5a") == "64b",
              sourceLocation: sourceLocation)
          }
          #expect(try client("unmap", memory) == "0", sourceLocation: sourceLocation)
          #expect(try client("stat", fd).contains(" 0 "), sourceLocation: sourceLocation)
          #expect(
            try client("ftruncate", fd, length).hasPrefix("E"), sourceLocation: sourceLocation)
        }
        let client = try mount.client(abi)
        for file in ["data", "peer/data"] {
          let fd = try client.open(mount("buffers/" + file))
          try expectNothing(client, fd)
          // A claim that was refused changes nothing.
          #expect(try client.claim(Claim(), for: fd) == "EAGAIN")
          try expectNothing(client, fd)
          let reader = try client.open(mount("buffers/" + file), "r")
          #expect(try client("read", reader, "100", "0") == "")
          #expect(try client("write", reader, "x", "0") == "EBADF")
          let appending = try client.open(mount("buffers/" + file), "rw,append,trunc")
          #expect(try client("write", appending, "x") == "EPERM")
          let direct = try client("open", mount("buffers/" + file), "rw,direct")
          #expect(Int(direct) != nil, "\(direct)")
          #expect(try client("read", direct, "4096", "0") == "")
          #expect(try client("stat", mount("buffers/" + file)).contains(" 0 "))
          #expect(try client("truncate", mount("buffers/" + file), "8192").hasPrefix("E"))
        }
        #expect(try filler("differ", filled, "0x5a") == "\(all.length) 0")
        #expect(try filler("release", "ioctl", filled) == "0")
        try expectNothing(filler, filled)
        // One that was given back is like one that never was.
        let mine = try client.hold(mount, Claim())
        #expect(try client("release", "ioctl", mine) == "0")
        try expectNothing(client, mine)
        let next = try client.hold(mount, all)
        #expect(try client("differ", next, "0x5a") == "\(all.length) 0")
      }
    }

    /// Where the daemon opens files of its own mount, it does so by names that nobody else finds, and
    /// that nobody can keep it from finding.
    @Test func `the daemon's own names are of no use to others`() throws {
      try withManaged { mount in
        let guessing = try mount.startShell(
          """
          echo ready
          while [ -d $M ]; do
            for name in memory-1 memory-2 area-1 area-2 area-4294967296; do
              [ -e $M/.vsocfs/$name ] && echo found $name
              [ -e $M/.vsocfs-own/$name ] && echo found $name
            done
          done
          """)
        #expect(try guessing.line() == "ready")
        let client = try mount.client()
        for round in 1...50 {
          let fd = try client.hold(mount, Claim(value: round))
          #expect(try client("fill", fd, "\(round)", "4096", "0") == "4096")
          #expect(try client("release", "ioctl", fd) == "0")
          #expect(try client("close", fd) == "0")
        }
        guessing.kill()
        #expect(guessing.transcript == "ready\n")
        let names = try client("list", mount(".vsocfs"))
        #expect(names == "layout/stats/version")
      }
    }

    /// What ends a permission whose contents are handed on.
    private enum Ending {
      case kill
      case close
      case release
      /// A close, and stores to the mapping that is left.
      case mapping
    }

    /// Contents stay, whatever ended the permission, and whatever parts of it the next owners get.
    @Test func `contents pass from owner to owner`() throws {
      try withManaged { mount in
        var written: [Int: Int] = [:]
        func write(_ begin: Int, _ end: Int, _ first: Int, _ ending: Ending) throws {
          let claim = Claim(begin: begin, end: end)
          let client = try mount.client()
          let fd = try client.hold(mount, claim)
          for page in 0..<claim.length / 0x1000 {
            let number = begin / 0x1000 + page
            let place = "\(page * 0x1000)"
            let part = try client("map", fd, "4096", place)
            #expect(
              try client("touch-all", part, "4096", "read", "\(written[number] ?? 0)") == "1r",
              "page \(page) of \(claim.shown)")
            // Half of them through the mapping.
            let byte = (first + page) % 256
            if page % 2 == 0 {
              #expect(try client("fill", fd, "\(byte)", "4096", place) == "4096")
            } else {
              #expect(try client("touch-all", part, "4096", "write", "\(byte)") == "1w")
            }
            #expect(try client("unmap", part) == "0")
            written[number] = byte
          }
          switch ending {
          case .kill: client.kill()
          case .close: #expect(try client("close", fd) == "0")
          case .release: #expect(try client("release", "ioctl", fd) == "0")
          case .mapping:
            let memory = try client("map", fd, "4096")
            #expect(try client("close", fd) == "0")
            try mount.settle()
            #expect(try client("touch-all", memory, "4096", "write", "250") == "1w")
            #expect(try client("unmap", memory) == "0")
            written[begin / 0x1000] = 250
          }
          try mount.waitUntilFree()
          client.kill()
        }
        try write(0x4000, 0x8000, 10, .kill)
        try write(0x6000, 0xa000, 30, .close)
        try write(0x2000, 0x7000, 50, .release)
        try write(0x6000, 0x8000, 70, .mapping)
        try write(0x2000, 0x40000, 90, .release)
        try write(0x3f000, 0x40000, 20, .kill)
        try write(0x2000, 0x40000, 200, .kill)
        try write(0x2000, 0x40000, 1, .close)
      }
    }
  }
}
