// SPDX-License-Identifier: Apache-2.0

internal import CVsocBench
internal import Glibc

/// Two processes and two futexes: in a region, each through an end of its own, and in a memfd.
func futexRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let bench = bench.often
  let daemon = try bench.startDaemon("bench")
  defer { daemon.stop() }
  let trips = "\(bench.count(1000))"
  let sides = try bench.interleave(
    { () throws(BenchError) in
      try bench.run(
        Client("futex", cpu: 0, daemon.path("bench/data"), "0", trips),
        Client("futex", cpu: 1, daemon.path("bench/peer/data"), "1", trips)
      ).samples()
    },
    { () throws(BenchError) in
      try bench.runOnMemfd(
        1 << 20, Client("futex", cpu: 0, handedOver, "0", trips),
        Client("futex", cpu: 1, handedOver, "1", trips))
    }
  )
  return [
    .comparing(
      "futex", "futex ping-pong in a region", sides[0], to: "memfd", sides[1], atMost: 1.05)
  ]
}

/// Doorbells against the C daemon, and both against eventfd.
func doorbellRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let bench = bench.often
  let daemon = try bench.startDaemon("bench")
  defer { daemon.stop() }
  let loop = bench.baselineLoop ?? "mt:2"
  let baseline = try bench.startBaseline(loop: loop)
  defer { baseline.stop() }
  let ours = ["bench/doorbell", "bench/peer/doorbell"].map(daemon.path)
  let theirs = ["north", "south"].map(baseline.path)
  var rows: [Row] = []
  for (way, label) in [("poll", "poll + read"), ("read", "blocking read")] {
    let (name, subject) = ("doorbell-\(way)", "doorbell ping-pong, \(label)")
    rows += try bench.attempt(name, subject) { () throws(BenchError) in
      let sides = try bench.interleave(
        { () throws(BenchError) in try bench.pingPong(ours, by: way) },
        { () throws(BenchError) in try bench.pingPong(theirs, by: way) },
        { () throws(BenchError) in try bench.eventfdPingPong(by: way) }
      )
      return [
        .comparing(
          name, subject, sides[0], to: "C daemon (\(loop))", sides[1], atMost: 1.1),
        .comparing("\(name)-eventfd", subject, sides[0], to: "eventfd", sides[2]),
      ]
    }
  }
  return rows
}

extension Bench {
  private func clients(
    _ files: [(String, String)], _ way: String, _ message: String
  ) -> [Client] {
    files.enumerated().map { side, file in
      Client("ring", cpu: side, file.0, file.1, "\(side)", way, message, "\(count(300))")
    }
  }

  /// Each side writes to its own doorbell and waits at it.
  fileprivate func pingPong(_ doorbells: [String], by way: String) throws(BenchError) -> Samples {
    try run(clients(doorbells.map { ($0, $0) }, way, "text"), handing: []).samples()
  }

  fileprivate func eventfdPingPong(by way: String) throws(BenchError) -> Samples {
    let first = try check("eventfd", vsocfs_bench_eventfd())
    defer { close(first) }
    let second = try check("eventfd", vsocfs_bench_eventfd())
    defer { close(second) }
    let other = "fd:\(VSOCFS_BENCH_FIRST_FD + 1)"
    let pair = clients([(handedOver, other), (other, handedOver)], way, "counter")
    return try run(pair, handing: [first, second]).samples()
  }
}

/// MAYBE_SEND_INTERRUPT that finds an interrupt in flight: with the daemon on the client's CPU (its
/// work alone), on the other one (its work and two wakeups of a CPU), and where the scheduler puts
/// it, which is the one or the other and not always the same for both sides: no target there.
func ioctlRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let bench = bench.often
  let loop = bench.baselineLoop ?? "single"
  let daemon = try bench.startDaemon("bench")
  defer { daemon.stop() }
  let baseline = try bench.startBaseline(loop: loop)
  defer { baseline.stop() }
  let (ours, theirs) = (daemon.path("bench/data"), baseline.path("data"))
  var rows: [Row] = []
  for (name, place, cpu) in [
    ("ioctl", "", nil), ("ioctl-same", ", on the same CPU", 0),
    ("ioctl-other", ", on the other CPU", 1 as Int32?),
  ] {
    let subject = "MAYBE_SEND_INTERRUPT, suppressed\(place)"
    rows += try bench.attempt(name, subject) { () throws(BenchError) in
      if let cpu {
        try daemon.confine(to: cpu)
        try baseline.confine(to: cpu)
      }
      let sides = try bench.interleave(
        { () throws(BenchError) in try bench.ioctls(ours, of: "region") },
        { () throws(BenchError) in try bench.ioctls(theirs, of: "baseline") }
      )
      return [
        .comparing(
          name, subject, sides[0], to: "C daemon (\(loop))", sides[1],
          atMost: cpu == nil ? nil : 1.1)
      ]
    }
  }
  return rows
}

extension Bench {
  fileprivate func ioctls(_ data: String, of kind: String) throws(BenchError) -> Samples {
    try run(Client("ioctl", cpu: 0, data, kind, "\(count(1000))")).samples()
  }
}

/// The baseline daemon against itself with other loops: which is the fastest, and so the fair one.
/// The first of them comes twice: how far its ratio is from 1 is what a ratio can be trusted for.
func loopRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let bench = bench.often
  let loops = [
    "mt:2", "mt:2", "single", "mt:1", "mt:3", "mt:4", "mt-clone:2", "pool:2", "pool:3",
  ]
  var daemons: [Daemon] = []
  defer { for daemon in daemons { daemon.stop() } }
  for (index, loop) in loops.enumerated() {
    daemons.append(try bench.startBaseline(loop: loop, name: "baseline\(index)"))
  }
  var rows: [Row] = []
  for kind in ["poll", "read", "ioctl", "ioctl-same", "ioctl-other"] {
    if kind == "ioctl-same" { for daemon in daemons { try daemon.confine(to: 0) } }
    if kind == "ioctl-other" { for daemon in daemons { try daemon.confine(to: 1) } }
    let sides = try bench.interleave(loops.count) { (index) throws(BenchError) in
      let daemon = daemons[index]
      if kind.hasPrefix("ioctl") { return try bench.ioctls(daemon.path("data"), of: "baseline") }
      return try bench.pingPong(["north", "south"].map(daemon.path), by: kind)
    }
    for index in loops.indices.dropFirst() {
      rows.append(
        .comparing(
          "loops-\(kind)", "C daemon with \(loops[index])", sides[index], to: loops[0], sides[0]))
    }
  }
  return rows
}
