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
  let daemons = try bench.startDaemons("bench")
  defer { daemons.stop() }
  let crowdSize = bench.count(10_000)
  let wakes = "\(bench.count(200))"
  let counts = daemons.map { _ in CondCounts() }
  // Each daemon is its own baseline.
  let sides = try bench.interleave(2 * daemons.count) { (side) throws(BenchError) in
    let (daemon, counts) = (daemons[side / 2], counts[side / 2])
    return side.isMultiple(of: 2)
      ? try counts.measureInCrowd(of: crowdSize, bench, daemon, wakes)
      : try counts.measure(1, bench, daemon.path("bench/data"), wakes)
  }
  let latency = Subject(
    "cond-latency", "COND_WAKE to its sleeper's return, \(crowdSize) others asleep", atMost: 1.5,
    daemonIn: .all)
  let call = Subject(
    "cond-call", "the COND_WAKE call itself, \(crowdSize) others asleep", atMost: 1.5,
    daemonIn: .all)
  var latencies: [Row] = []
  var calls: [Row] = []
  for (index, daemon) in daemons.enumerated() {
    let (crowd, alone, counts) = (sides[2 * index], sides[2 * index + 1], counts[index])
    latencies.append(
      counts.judge(.comparing(latency, daemon.mode, crowd, to: "none asleep", alone)))
    counts.calls[0].failure = crowd.failure
    counts.calls[1].failure = alone.failure
    calls.append(
      .comparing(call, daemon.mode, counts.calls[0], to: "none asleep", counts.calls[1]))
  }
  return latencies + calls
}

/// What the rounds leave beside their samples.
private final class CondCounts {
  var thrownAway = 0
  var strangers = 0
  var calls = [Side](repeating: Side(), count: 2)

  /// The row with what is to be said of those that should not have woken.
  func judge(_ latency: Row) -> Row {
    guard latency.failure == nil else { return latency }
    var row = latency
    if strangers == 0 {
      row.notes.append("no other sleeper woke (a control that was woken once said so)")
    } else {
      row.notes.append("OTHER SLEEPERS WOKE: \(strangers)")
      row.setTarget("none else woken", isMet: false)
    }
    if thrownAway > 0 { row.notes.append("\(thrownAway) samples thrown away: not asleep yet") }
    return row
  }

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
  let daemons = try bench.startDaemons("bench")
  defer { daemons.stop() }
  let count = 1000
  let seconds = bench.isQuick ? 2.0 : 10.0
  let subject = Subject(
    "idle", "CPU time of the daemon, \(count) blocked pollers, \(Int(seconds)) s",
    daemonIn: .all)
  let sides = try bench.once.interleave(daemons.count) { (index) throws(BenchError) in
    [try bench.idleTime(of: daemons[index], pollers: count, seconds)]
  }
  return zip(daemons, sides).map { daemon, side in
    var row = Row(subject, daemon.mode)
    row.failure = side.failure
    guard let used = side.rounds.first?.first else { return row }
    row.figure = side.figure()
    row.setTarget("≤ 10 ms", isMet: used <= 10e6)
    return row
  }
}

extension Bench {
  fileprivate func idleTime(
    of daemon: Daemon, pollers count: Int, _ seconds: Double
  ) throws(BenchError) -> Double {
    let clients = ["bench", "bench/peer"].map { end in
      Client(
        "crowd", cpu: -1, "poll", daemon.path("\(end)/doorbell"), "\(count / 2)",
        daemon.path("\(end)/signal"))
    }
    let group = try ClientGroup(clients, in: workplace)
    try group.wait(for: "\(count) pollers") { $0.tally(Tally.parked) >= count }
    try daemon.settle()
    let before = try daemon.cpuTime()
    try workplace.sleep(seconds)
    let used = try daemon.cpuTime() - before
    group.signal(SIGTERM)
    try group.finish()
    return used
  }
}

/// Mounting with many regions: the time until ready, and the daemon's memory then.
func mountRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let count = 4096
  let layout = "\(bench.workplace.directory)/layout"
  try writeFile(layout, layoutText(regions: count))
  let modes = bench.modes.filter { $0 != .store }
  let mounts = modes.map { _ in Mounts() }
  let sides = try bench.interleave(2 * modes.count) { (side) throws(BenchError) in
    let options = side.isMultiple(of: 2) ? ["--layout", layout] : ["--region", "bench"]
    return try mounts[side / 2].start(side % 2, bench, modes[side / 2], options)
  }
  let time = Subject("mount-time", "mount with \(count) regions until ready", daemonIn: .all)
  let memory = Subject("mount-rss", "RSS of the daemon with \(count) regions", daemonIn: .all)
  var times: [Row] = []
  var sizes: [Row] = []
  for (index, mode) in modes.enumerated() {
    let (many, one, mounts) = (sides[2 * index], sides[2 * index + 1], mounts[index])
    var row = Row.comparing(time, mode, many, to: "with 1", one)
    if row.failure == nil {
      let more = zip(many.rounds, one.rounds).map { $0[0] - $1[0] }.percentile(50)
      row.setTarget("≤ 1 s more", isMet: more <= 1e9)
      row.notes.append("\(Unit.time.text(more)) more")
    }
    times.append(row)
    mounts.sizes[0].failure = many.failure
    mounts.sizes[1].failure = one.failure
    row = .comparing(memory, mode, mounts.sizes[0], to: "with 1", mounts.sizes[1])
    if let size = row.figure?.median {
      row.figure?.unit = .size
      row.baselineFigure?.unit = .size
      row.setTarget("≤ 64 MiB", isMet: size <= 64 * 1024 * 1024)
      row.notes.append(mounts.parts)
    }
    sizes.append(row)
  }
  return times + sizes
}

/// What the mounts of a mode leave beside their times.
private final class Mounts {
  /// With many regions, and with one.
  var sizes = [Side](repeating: Side(), count: 2)
  /// Of what the memory with many regions consists.
  var parts = ""

  func start(
    _ side: Int, _ bench: Bench, _ mode: Mode, _ options: [String]
  ) throws(BenchError) -> Samples {
    let daemon = try bench.startDaemon(mode, options: options)
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
