// SPDX-License-Identifier: Apache-2.0

internal import CVsocBench
internal import Glibc

/// Two processes and two futexes: in a region, each through an end of its own, and in a memfd.
func futexRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let bench = bench.often
  let daemons = try bench.startDaemons("bench")
  defer { daemons.stop() }
  let trips = "\(bench.count(1000))"
  let subject = Subject("futex", "futex ping-pong in a region", atMost: 1.05, daemonIn: [])
  return try bench.compareWithFile(subject, size: mebibyte, on: daemons) { targets in
    [
      Client("futex", cpu: 0, targets.data, "0", trips),
      Client("futex", cpu: 1, targets.peerMapping, "1", trips),
    ]
  }
}

/// Doorbells against the C daemon, and against what there is without a file system.
func doorbellRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let bench = bench.often
  let daemons = try bench.startDaemons("bench")
  defer { daemons.stop() }
  let loop = bench.baselineLoop ?? "mt:2"
  let baseline = try bench.startBaseline(loop: loop)
  defer { baseline.stop() }
  var rows: [Row] = []
  for (way, label) in [("poll", "poll + read"), ("read", "blocking read")] {
    let text = "doorbell ping-pong, \(label)"
    let sides = try bench.interleave(
      daemons,
      { (daemon) throws(BenchError) in
        try bench.pingPong(["bench/doorbell", "bench/peer/doorbell"].map(daemon.path), by: way)
      },
      baselines: 3,
      { (index) throws(BenchError) in
        switch index {
        case 0: try bench.pingPong(["north", "south"].map(baseline.path), by: way)
        case 1: try bench.eventfdPingPong(by: way)
        default: try bench.socketPingPong(by: way)
        }
      })
    let others = [
      ("", "C daemon (\(loop))"), ("-eventfd", "eventfd"), ("-socket", "UNIX socket"),
    ]
    for (index, (suffix, other)) in others.enumerated() {
      let subject = Subject(
        "doorbell-\(way)\(suffix)", text, atMost: index == 0 ? 1.1 : nil, daemonIn: .all)
      for (daemon, side) in zip(daemons, sides.daemons) {
        rows.append(.comparing(subject, daemon.mode, side, to: other, sides.baselines[index]))
      }
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

  func eventfdPingPong(by way: String) throws(BenchError) -> Samples {
    let first = try check("eventfd", vsocfs_bench_eventfd())
    defer { close(first) }
    let second = try check("eventfd", vsocfs_bench_eventfd())
    defer { close(second) }
    let other = "fd:\(VSOCFS_BENCH_FIRST_FD + 1)"
    let pair = clients([(firstHandedOver, other), (other, firstHandedOver)], way, "counter")
    return try run(pair, handing: [first, second]).samples()
  }
}

extension Bench {
  fileprivate func socketPingPong(by way: String) throws(BenchError) -> Samples {
    var ends: [Int32] = [-1, -1]
    _ = try check("socketpair", unsafe vsocfs_bench_socket_pair(&ends))
    defer { for end in ends { close(end) } }
    let other = "fd:\(VSOCFS_BENCH_FIRST_FD + 1)"
    let pair = clients([(firstHandedOver, firstHandedOver), (other, other)], way, "counter")
    return try run(pair, handing: ends).samples()
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
      let subject = Subject("loops-\(kind)", "C daemon with \(loops[index])", daemonIn: [])
      rows.append(.comparing(subject, nil, sides[index], to: loops[0], sides[0]))
    }
  }
  return rows
}
