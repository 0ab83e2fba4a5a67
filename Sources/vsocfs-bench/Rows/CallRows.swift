// SPDX-License-Identifier: Apache-2.0

/// MAYBE_SEND_INTERRUPT that finds an interrupt in flight: with the daemon on the client's CPU (its
/// work alone), on the other one (its work and two wakeups of a CPU), and where the scheduler puts
/// it, which is the one or the other and not always the same for both sides: no target there.
func ioctlRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let bench = bench.often
  let loop = bench.baselineLoop ?? "single"
  let daemons = try bench.startDaemons("bench")
  defer { daemons.stop() }
  let baseline = try bench.startBaseline(loop: loop)
  defer { baseline.stop() }
  var rows: [Row] = []
  for (name, place, cpu) in [
    ("ioctl", "", nil), ("ioctl-same", ", on the same CPU", 0),
    ("ioctl-other", ", on the other CPU", 1 as Int32?),
  ] {
    let subject = Subject(
      name, "MAYBE_SEND_INTERRUPT, suppressed\(place)", atMost: cpu == nil ? nil : 1.1,
      daemonIn: .all)
    rows += try bench.compare(
      subject, on: daemons,
      { (daemon) throws(BenchError) in
        if let cpu { try daemon.confine(to: cpu) }
        return try bench.ioctls(daemon.path("bench/data"), of: "region")
      }, to: "C daemon (\(loop))",
      { () throws(BenchError) in
        if let cpu { try baseline.confine(to: cpu) }
        return try bench.ioctls(baseline.path("data"), of: "baseline")
      })
  }
  return rows
}

extension Bench {
  func ioctls(_ data: String, of kind: String) throws(BenchError) -> Samples {
    try run(Client("ioctl", cpu: 0, data, kind, "\(count(1000))")).samples()
  }
}

/// Opening and closing, alone and while another client has the file open: with page caches the
/// daemon maps the region for its first user and unmaps it after the last.
func openRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let loop = bench.baselineLoop ?? "mt:2"
  let daemons = try bench.startDaemons("bench", andStore: true)
  defer { daemons.stop() }
  let baseline = try bench.startBaseline(loop: loop)
  defer { baseline.stop() }
  var rows: [Row] = []
  for (file, counterpart) in [("data", "data"), ("doorbell", "north")] {
    for (use, text) in [("first", "nobody else has it open"), ("next", "another has it open")] {
      let subject = Subject(
        "open-\(file)-\(use)", "open and close of \(file), \(text)", daemonIn: .all)
      func opens(_ path: String) throws(BenchError) -> Samples {
        try bench.run(Client("open", cpu: 0, path, use, "\(bench.count(200))")).samples()
      }
      rows += try bench.compare(
        subject, on: daemons,
        { (daemon) throws(BenchError) in try opens(daemon.path("bench/\(file)")) },
        to: "C daemon (\(loop))",
        { () throws(BenchError) in try opens(baseline.path(counterpart)) })
    }
  }
  return rows
}

/// A sender that posts while an interrupt is in flight, against one exchange.
func postRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let daemons = try bench.startDaemons("bench")
  defer { daemons.stop() }
  let samples = "\(bench.count(200))"
  var rows: [Row] = []
  for (name, kind, label) in [
    ("post", "fresh", "an offset"), ("post-again", "again", "an offset that stands there"),
  ] {
    let subject = Subject(
      name, "post \(label), interrupt in flight", atMost: 10, daemonIn: [])
    rows += try bench.compare(
      subject, on: daemons,
      { (daemon) throws(BenchError) in
        try bench.run(Client("post", cpu: 0, daemon.path("bench/data"), samples, kind)).samples()
      }, to: "one exchange",
      { () throws(BenchError) in
        try bench.run(
          [Client("exchange", cpu: 0, firstHandedOver, samples)], on: .memfd, mebibyte)
      })
  }
  for index in rows.indices where rows[index].failure == nil {
    rows[index].notes.append("no system call: a seccomp filter would have killed the client")
  }
  return rows
}
