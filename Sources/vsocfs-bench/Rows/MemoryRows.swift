// SPDX-License-Identifier: Apache-2.0

internal import CVsocBench
internal import Glibc

private let mebibyte = 1 << 20

/// First touch and sequential read/write of a mapping: a region against a memfd.
func memoryRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let size = 64 * mebibyte
  let daemon = try bench.startDaemon("bench:64M")
  defer { daemon.stop() }

  let subject = "first touch of a page, 64 MiB"
  var rows = try bench.attempt("memory-touch", subject) { () throws(BenchError) in
    let sides = try bench.interleave(
      { () throws(BenchError) in
        try bench.runOnFreshRegion(
          "fresh", size, daemon, Client("touch", cpu: 0, daemon.path("fresh/data"), "\(size)"))
      },
      { () throws(BenchError) in
        try bench.runOnMemfd(size, Client("touch", cpu: 0, handedOver, "\(size)"))
      }
    )
    return [.comparing("memory-touch", subject, sides[0], to: "memfd", sides[1], atMost: 1.05)]
  }
  for (direction, verb) in [("write", "written"), ("read", "read")] {
    let (name, subject) = ("memory-\(direction)", "a MiB \(verb), 64 MiB sequentially")
    func client(_ target: String) -> Client {
      Client("stream", cpu: 0, target, "\(size)", direction, "\(bench.count(10))")
    }
    rows += try bench.attempt(name, subject) { () throws(BenchError) in
      let sides = try bench.interleave(
        { () throws(BenchError) in try bench.run(client(daemon.path("bench/data"))).samples() },
        { () throws(BenchError) in try bench.runOnMemfd(size, client(handedOver)) }
      )
      return [.comparing(name, subject, sides[0], to: "memfd", sides[1], atMost: 1.05)]
    }
  }
  return rows
}

/// pread and pwrite on `data` against a memfd.
func transferRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let size = 16 * mebibyte
  let daemon = try bench.startDaemon("bench:16M")
  defer { daemon.stop() }
  var rows: [Row] = []
  for (bytes, label, limit) in [
    (64, "64 B", nil), (4096, "4 KiB", nil), (mebibyte, "1 MiB", 1.1 as Double?),
  ] {
    for direction in ["read", "write"] {
      let (name, subject) = ("transfer-\(direction)-\(bytes)", "p\(direction) \(label)")
      let samples = "\(bench.count(bytes == mebibyte ? 200 : 400))"
      func client(_ target: String) -> Client {
        Client("transfer", cpu: 0, target, "\(size)", direction, "\(bytes)", samples)
      }
      rows += try bench.attempt(name, subject) { () throws(BenchError) in
        let sides = try bench.interleave(
          { () throws(BenchError) in try bench.run(client(daemon.path("bench/data"))).samples() },
          { () throws(BenchError) in try bench.runOnMemfd(size, client(handedOver)) }
        )
        return [.comparing(name, subject, sides[0], to: "memfd", sides[1], atMost: limit)]
      }
    }
  }
  return rows
}

/// A sender that posts while an interrupt is in flight, against one exchange.
func postRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let daemon = try bench.startDaemon("bench")
  defer { daemon.stop() }
  let samples = "\(bench.count(200))"
  let data = daemon.path("bench/data")
  let sides = try bench.interleave(
    { () throws(BenchError) in
      try bench.run(Client("post", cpu: 0, data, samples, "fresh")).samples()
    },
    { () throws(BenchError) in
      try bench.run(Client("post", cpu: 0, data, samples, "again")).samples()
    },
    { () throws(BenchError) in
      try bench.runOnMemfd(mebibyte, Client("exchange", cpu: 0, handedOver, samples))
    }
  )
  return zip(["post", "post-again"], ["an offset", "an offset that stands there"]).enumerated()
    .map { index, label in
      var row = Row.comparing(
        label.0, "post \(label.1), interrupt in flight", sides[index], to: "one exchange",
        sides[2], atMost: 10)
      row.notes.append("no system call: a seccomp filter would have killed the client")
      return row
    }
}

/// The first descriptor that a client is handed, as a client's target.
let handedOver = "fd:\(VSOCFS_BENCH_FIRST_FD)"

extension Bench {
  /// Runs clients on a fresh memfd.
  func runOnMemfd(_ size: Int, _ clients: Client...) throws(BenchError) -> Samples {
    let memfd = try check("memfd", vsocfs_bench_memfd(size))
    defer { close(memfd) }
    return try run(clients, handing: [memfd]).samples()
  }

  /// Runs a client on a region that is made for it and destroyed afterwards.
  func runOnFreshRegion(
    _ name: String, _ size: Int, _ daemon: Daemon, _ client: Client
  ) throws(BenchError) -> Samples {
    try daemon.makeRegion(name, size: size)
    defer { daemon.removeRegion(name) }
    return try run(client).samples()
  }
}
