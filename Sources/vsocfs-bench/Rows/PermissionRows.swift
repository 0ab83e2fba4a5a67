// SPDX-License-Identifier: Apache-2.0

internal import CVsocBench
internal import Glibc

/// What rows about areas need: a region under a manager that has room for their owner words.
private enum Managed {
  static let layout = """
    {
      regions: [
        { name: "manager", size: "1M" },
        { name: "buffers", size: "64M", managed_by: "manager" },
      ],
    }

    """
  /// Live permissions among which one more costs what it costs.
  static let few = 10

  /// How many areas can be held at once. Asks for the descriptors that `count` of them take.
  static func mostAreas(in mode: Mode, whereWanted count: Int) -> Int {
    // With a page cache the daemon has the area's file open and, as its clients do, the area.
    let descriptors = mode == .pageCache ? 2 : 1
    let others = 256
    let limit = vsocfs_bench_allow_descriptors(Int64(count * descriptors + others))
    return max(few, (Int(limit) - others) / descriptors)
  }
}

extension Bench {
  /// With a store a claim is for a disk: there is nothing that it could be compared with.
  fileprivate var modesOfAreas: [Mode] { modes.filter { $0 != .store } }

  fileprivate func startManaging(_ mode: Mode) throws(BenchError) -> Daemon {
    let layout = "\(workplace.directory)/layout"
    try writeFile(layout, Managed.layout)
    return try startDaemon(mode, options: ["--layout", layout])
  }

  fileprivate func startManaging(_ modes: [Mode]) throws(BenchError) -> [Daemon] {
    var daemons: [Daemon] = []
    for mode in modes { daemons.append(try startManaging(mode)) }
    return daemons
  }

  /// Claims and gives back area number `index` of areas of `size` bytes, again and again.
  fileprivate func claims(
    on daemon: Daemon, by way: String = "own", size: Int, index: Int = 0
  ) throws(BenchError) -> Board {
    try run(
      Client(
        "claim", cpu: 0, daemon.path("buffers/data"), daemon.path("manager/data"), way, "\(size)",
        "\(index)", "\(count(200))"))
  }
}

/// An area from open to close, against a memfd from creation to close.
func claimRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let bench = bench.often
  let size = 64 << 10
  let daemons = try bench.startManaging(bench.modesOfAreas)
  defer { daemons.stop() }
  var rows: [Row] = []
  for (name, way, text) in [
    ("claim", "own", "on its own descriptor"),
    ("claim-manager", "manager", "by way of the manager (the original call)"),
  ] {
    let subject = Subject(
      name, "64 KiB: open, claim \(text), map, touch, release, close",
      atMost: way == "own" ? 10 : nil, daemonIn: .all)
    rows += try bench.compare(
      subject, on: daemons,
      { (daemon) throws(BenchError) in
        try bench.claims(on: daemon, by: way, size: size).samples()
      }, to: "memfd",
      { () throws(BenchError) in
        try bench.run(Client("memfd", cpu: 0, "\(size)", "\(bench.count(200))")).samples()
      })
  }
  return rows
}

/// The same among many other permissions, against a few.
func claimManyRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let bench = bench.often
  let wanted = bench.count(10_000)
  var crowds: [(mode: Mode, count: Int, many: Holders, few: Holders)] = []
  defer {
    for crowd in crowds {
      crowd.many.stop()
      crowd.few.stop()
    }
  }
  for mode in bench.modesOfAreas {
    let count = min(wanted, Managed.mostAreas(in: mode, whereWanted: wanted))
    let many = try Holders(of: count, in: bench, mode)
    crowds.append((mode, count, many, try Holders(of: Managed.few, in: bench, mode)))
  }
  let sides = try bench.interleave(2 * crowds.count) { (side) throws(BenchError) in
    let crowd = crowds[side / 2]
    return try (side.isMultiple(of: 2) ? crowd.many : crowd.few).measure()
  }
  var rows: [Row] = []
  for isCall in [false, true] {
    for (index, crowd) in crowds.enumerated() {
      let what = isCall ? "the claim itself" : "4 KiB: open, claim, map, touch, release, close"
      let subject = Subject(
        isCall ? "claim-many-call" : "claim-many", "\(what); \(crowd.count) permissions live",
        atMost: crowd.count == wanted ? 2 : nil, daemonIn: .all)
      var (many, few) = (sides[2 * index], sides[2 * index + 1])
      if isCall { (many.rounds, few.rounds) = (crowd.many.calls, crowd.few.calls) }
      var row = Row.comparing(subject, crowd.mode, many, to: "\(Managed.few) live", few)
      if crowd.count < wanted {
        row.notes.append("not \(wanted): more descriptors than the hard limit allows the daemon")
      }
      rows.append(row)
    }
  }
  return rows
}

/// A daemon of which a client has all areas that there are to be but one, and that one is measured. It
/// is in their midst.
private final class Holders {
  private static let size = 4096
  private let bench: Bench
  private let daemon: Daemon
  private let group: ClientGroup
  private let spared: Int
  /// How long the claims themselves took, by rounds.
  private(set) var calls: [Samples] = []

  init(of count: Int, in bench: Bench, _ mode: Mode) throws(BenchError) {
    self.bench = bench
    spared = count / 2
    daemon = try bench.startManaging(mode)
    group = try ClientGroup(
      [
        Client(
          "hold", cpu: -1, daemon.path("buffers/data"), "\(Self.size)", "\(count)", "\(spared)")
      ], in: bench.workplace, limit: 20 * Workplace.roundLimit)
    try group.wait(for: "\(count) permissions") { $0.tally(0) > 0 }
    try daemon.settle()
  }

  func measure() throws(BenchError) -> Samples {
    let board = try bench.claims(on: daemon, size: Self.size, index: spared)
    calls.append(board.samples(1))
    return board.samples()
  }

  func stop() {
    group.signal(SIGKILL)
    daemon.stop()
  }
}
