// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension HostileLayout {
  /// A managed region that everybody may use.
  static let managed = """
    { name: "manager", size: "64K", mode: "0666" },
    { name: "buffers", size: "256K", managed_by: "manager", mode: "0666" },
    """
}

extension MountTests.Hostile {
  /// More than the requests of a connection that the kernel does not wait for.
  private static let many = 24

  /// Whether a way to read waits for a ring: else it is refused at once.
  private static let ways: [(way: String, waits: Bool)] = [
    ("willneed", false), ("readahead", false), ("splice", false), ("sendfile", false),
    ("copy", false), ("map", false), ("aio", true), ("uring", true), ("uring-async", true),
  ]

  /// What others do while an attacker reads: they ring, claim and close, open and synchronize.
  private func othersGoOn(_ mount: MountedDaemon, after way: String) throws {
    try mount.victimRings(50)
    let holder = Client(try ChildProcess(Programs.client, [], as: .victim))
    _ = try holder.hold(mount)
    try holder.finish()
    // Its release arrives.
    try mount.waitUntilFree("areas are free after \(way)")
    let client = try mount.client()
    let data = try client.open(mount("victim/data"))
    let memory = try client("map", data, "65536")
    #expect(try client("store", memory, "0x3000", "7") == "0")
    #expect(try client("sync", memory, "0x3000") == "0", "msync after \(way)")
    for file in ["doorbell", "signal"] {
      let fd = try client.open(mount("own/" + file))
      #expect(try client("close", fd) == "0")
    }
    #expect(try client("write", mount("own/peer/doorbell"), "0x2000\n") == "7")
    client.kill()
  }

  @Test(
    .enabled(if: MountMode.splicesByPageCache, "needs Linux 6.5"),
    arguments: ["doorbell", "signal"])
  func `reads that wait hold nobody else up`(file: String) throws {
    try withLayout(HostileLayout.text(HostileLayout.managed)) { mount in
      for (way, waits) in Self.ways {
        let attack = try mount.attack("reads", way, mount("own/" + file), "\(Self.many)")
        var lines = [try attack.line()]
        let expected = waits ? 2 : Self.many + 2
        while lines.count < expected { lines.append(try attack.line()) }
        if !waits {
          let results = lines.filter { $0 != "begins" && $0 != "started" }
          // Who asks ahead is not told what became of it.
          #expect(
            results.allSatisfy { ["EINVAL", "EFAULT", "EXDEV", "0"].contains($0) },
            "\(way): \(results)")
          #expect(way != "splice" || results.allSatisfy { $0 == "EINVAL" }, "\(results)")
        }
        try othersGoOn(mount, after: way)
        #expect(attack.kill(), "reads by \(way) cannot be killed")
      }
    }
  }

  @Test func `a short read by io_uring is complete`() throws {
    try withMount { mount in
      let ringer = try mount.client()
      for way in ["uring", "uring-async"] {
        for mode in ["wait", "nonblock"] {
          let attack = try mount.attack(
            "reads", way, mount("demo/doorbell"), "1", mode, as: nil)
          defer { attack.kill() }
          #expect(try attack.line() == "begins")
          #expect(try attack.line() == "started")
          // It may not have got as far as to wait: then it finds the ring.
          #expect(try ringer("write", mount("demo/peer/doorbell"), "0x2000\n") == "7")
          let got = try attack.line()
          #expect(got == "11", "\(way), \(mode)")
        }
      }
    }
  }

  @Test func `a cat that splices gets ring after ring`() throws {
    try withMount { mount in
      let cat = try mount.attack("cat", mount("demo/doorbell"), as: nil)
      #expect(try cat.line() == "begins")
      let ringer = try mount.client()
      for round in 1...20 {
        let offset = 0x2000 + 4 * round
        let text = String(offset, radix: 16)
        #expect(try ringer("write", mount("demo/peer/doorbell"), "0x\(text)\n") == "7")
        #expect(try cat.line() == "0x0000\(text)")
      }
      #expect(cat.kill())
    }
  }

  /// Bytes that the kernel keeps would be those of the first look for good.
  @Test(.enabled(if: MountMode.splicesByPageCache, "needs Linux 6.5"))
  func `what the daemon serves is not read stale`() throws {
    let store = try TemporaryDirectory()
    try withMount(["--region", "demo", "--store", store.path + "/store"]) { mount in
      // In the one mode it is the host end's data, in the other that of a store for who may write.
      let path = mount.mode == .pageCache ? "demo/peer/data" : "demo/data"
      for way in ["splice", "sendfile", "map"] {
        let attack = try mount.attack("reads", way, mount(path), "1", "write", as: nil)
        defer { attack.kill() }
        var lines = try (0..<3).map { _ in try attack.line() }
        lines.removeAll { $0 == "begins" || $0 == "started" }
        // In passthrough mode a mapping is of the store's file itself.
        let isOwn = way == "map" && mount.mode == .passthrough
        #expect(lines == [isOwn ? "0" : way == "map" ? "EFAULT" : "EINVAL"], "\(way)")
      }
    }
  }
}
