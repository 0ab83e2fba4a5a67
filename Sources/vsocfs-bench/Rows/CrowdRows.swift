// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// What the tallies of a crowd count (crowd.c).
private enum Tally {
  static let parked: Int32 = 0
  static let returned: Int32 = 1
  static let wokenThreads: Int32 = 2
  static let wakes: Int32 = 3
  static let controlWakes: Int32 = 4
  static let otherErrors: Int32 = 5
}

/// COND_WAKE of one sleeper, alone and among many that sleep at other offsets of the region.
func condRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let daemon = try bench.startDaemon("bench")
  defer { daemon.stop() }
  let data = daemon.path("bench/data")
  let crowdSize = bench.count(10_000)
  let wakes = "\(bench.count(200))"
  let counts = CondCounts()
  let sides = try bench.interleave(
    { () throws(BenchError) in try counts.measureInCrowd(of: crowdSize, bench, daemon, wakes) },
    { () throws(BenchError) in try counts.measure(1, bench, data, wakes) }
  )
  var latency = Row.comparing(
    "cond-latency", "COND_WAKE to its sleeper's return, \(crowdSize) others asleep", sides[0],
    to: "none asleep", sides[1], atMost: 1.5)
  latency.notes.append(
    counts.strangers == 0
      ? "no other sleeper woke (a control that was woken once said so)"
      : "OTHER SLEEPERS WOKE: \(counts.strangers)")
  if counts.strangers > 0 { latency.isMet = false }
  if counts.thrownAway > 0 {
    latency.notes.append("\(counts.thrownAway) samples thrown away: not asleep yet")
  }
  let call = Row.comparing(
    "cond-call", "the COND_WAKE call itself, \(crowdSize) others asleep", counts.calls[0],
    to: "none asleep", counts.calls[1], atMost: 1.5)
  return [latency, call]
}

/// What the rounds leave beside their samples.
private final class CondCounts {
  var thrownAway = 0
  var strangers = 0
  var calls = [Side](repeating: Side(), count: 2)

  func measureInCrowd(
    of size: Int, _ bench: Bench, _ daemon: Daemon, _ wakes: String
  ) throws(BenchError) -> Samples {
    let data = daemon.path("bench/data")
    let crowd = try Crowd(sleeping: size, at: data, in: bench, on: daemon)
    let samples = try measure(0, bench, data, wakes)
    strangers += try crowd.endCountingStrangers()
    try daemon.settle()
    return samples
  }

  func measure(
    _ side: Int, _ bench: Bench, _ data: String, _ wakes: String
  ) throws(BenchError) -> Samples {
    let board = try bench.run(
      Client("cond-waker", cpu: 0, data, wakes), Client("cond-sleeper", cpu: 1, data, wakes))
    thrownAway += board.tally(0)
    calls[side].rounds.append(board.samples(1))
    return board.samples()
  }
}

/// Threads of a few processes, each asleep in COND_WAIT on a word of its own.
final class Crowd {
  private static let processes = 4
  private static let firstOffset = 0x20000

  private let group: ClientGroup
  private let bench: Bench
  private let data: String
  private let count: Int

  init(
    sleeping count: Int, at data: String, in bench: Bench, on daemon: Daemon
  ) throws(BenchError) {
    self.bench = bench
    self.data = data
    let perProcess = count / Self.processes
    let size = perProcess * Self.processes
    self.count = size
    let clients = (0..<Self.processes).map { index in
      Client(
        "crowd", cpu: -1, "cond", data, "\(perProcess)",
        "\(Self.firstOffset + index * perProcess * 4)")
    }
    group = try ClientGroup(clients, in: bench.workplace, limit: 2 * Workplace.roundLimit)
    try group.wait(for: "\(size) sleepers") { $0.tally(Tally.parked) >= size }
    try daemon.settle()
  }

  /// Wakes the control, ends everybody, and counts the wakeups that nobody asked for.
  func endCountingStrangers() throws(BenchError) -> Int {
    _ = try bench.run(Client("cond-wake-once", cpu: 0, data, "\(Self.firstOffset)"))
    group.signal(SIGTERM)
    try group.finish()
    let board = group.board
    guard board.tally(Tally.returned) == count, board.tally(Tally.otherErrors) == 0 else {
      throw BenchError(
        "\(board.tally(Tally.returned)) of \(count) sleepers came back, "
          + "\(board.tally(Tally.otherErrors)) not with EINTR")
    }
    // The first sleeper of each process counts as a control, but only the first one's was woken.
    guard board.tally(Tally.controlWakes) >= 1 else {
      throw BenchError("the control's wakeup was not counted in `wakes`")
    }
    return board.tally(Tally.wakes) - 1
  }
}

/// An idle mount on which many are blocked in poll(2).
func idleRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let daemon = try bench.startDaemon("bench")
  defer { daemon.stop() }
  let count = 1000
  let seconds = bench.isQuick ? 2.0 : 10.0
  let clients = ["bench", "bench/peer"].map { end in
    Client(
      "crowd", cpu: -1, "poll", daemon.path("\(end)/doorbell"), "\(count / 2)",
      daemon.path("\(end)/signal"))
  }
  let group = try ClientGroup(clients, in: bench.workplace)
  try group.wait(for: "\(count) pollers") { $0.tally(Tally.parked) >= count }
  try daemon.settle()
  let before = try daemon.cpuTime()
  try bench.workplace.sleep(seconds)
  let used = try daemon.cpuTime() - before
  group.signal(SIGTERM)
  try group.finish()
  var row = Row("idle", "CPU time of the daemon, \(count) blocked pollers, \(Int(seconds)) s")
  row.figure = Figure(median: used, p99: used, samples: 1, unit: .time)
  row.target = "≤ 10 ms"
  row.isMet = used <= 10e6
  return [row]
}

/// Mounting with many regions: the time until ready, and the daemon's memory then.
func mountRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let count = 4096
  let layout = "\(bench.workplace.directory)/layout"
  try writeFile(layout, layoutText(regions: count))
  let mounts = Mounts()
  let sides = try bench.interleave(
    { () throws(BenchError) in try mounts.start(0, bench, ["--layout", layout]) },
    { () throws(BenchError) in try mounts.start(1, bench, ["--region", "bench"]) }
  )
  var time = Row.comparing(
    "mount-time", "mount with \(count) regions until ready", sides[0], to: "with 1", sides[1])
  let more = zip(sides[0].rounds, sides[1].rounds).map { $0[0] - $1[0] }.percentile(50)
  time.target = "≤ 1 s more"
  time.isMet = more <= 1e9
  time.notes.append("\(Unit.time.text(more)) more")
  var memory = Row.comparing(
    "mount-rss", "RSS of the daemon with \(count) regions", mounts.sizes[0],
    to: "with 1", mounts.sizes[1])
  memory.figure?.unit = .size
  memory.baselineFigure?.unit = .size
  memory.target = "≤ 64 MiB"
  memory.isMet = memory.figure.map { $0.median <= 64 * 1024 * 1024 }
  memory.notes.append(mounts.parts)
  return [time, memory]
}

/// What the mounts leave beside their times.
private final class Mounts {
  var sizes = [Side](repeating: Side(), count: 2)
  /// Of what the memory with many regions consists.
  var parts = ""

  func start(_ side: Int, _ bench: Bench, _ options: [String]) throws(BenchError) -> Samples {
    let daemon = try bench.startDaemon(options: options)
    defer { daemon.stop() }
    let memory = try daemon.memory()
    sizes[side].rounds.append([memory["VmRSS"] ?? .nan])
    if side == 0 {
      parts = ["RssAnon", "RssFile", "RssShmem"]
        .map { "\($0) \(Unit.size.text(memory[$0] ?? .nan))" }.joined(separator: ", ")
    }
    return [daemon.startTime]
  }
}

private func layoutText(regions: Int) -> String {
  let entries = (0..<regions).map { "    { name: \"r\($0)\" },\n" }.joined()
  return "{\n  regions: [\n\(entries)  ],\n}\n"
}
