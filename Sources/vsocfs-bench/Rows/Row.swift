// SPDX-License-Identifier: Apache-2.0

/// A line of the table.
struct Row: Encodable {
  var name: String
  var subject: String
  var baseline: String?
  var figure: Figure?
  var baselineFigure: Figure?
  /// The median of the rounds' ratios, and the least and the greatest of them.
  var ratio: Double?
  var ratioMinimum: Double?
  var ratioMaximum: Double?
  var rounds: Int?
  /// The target of the specification in words, and whether this run meets it.
  var target: String?
  var isMet: Bool?
  var notes: [String] = []
  /// Why there are no figures.
  var failure: String?

  init(_ name: String, _ subject: String) {
    self.name = name
    self.subject = subject
  }

  /// Two sides whose rounds were interleaved.
  static func comparing(
    _ name: String, _ subject: String, _ side: Side, to baseline: String, _ baselineSide: Side,
    atMost limit: Double? = nil
  ) -> Row {
    var row = Row(name, subject)
    row.baseline = baseline
    row.figure = side.figure()
    row.baselineFigure = baselineSide.figure()
    let ratios = zip(side.rounds, baselineSide.rounds).map {
      $0.percentile(50) / $1.percentile(50)
    }
    row.ratio = ratios.percentile(50)
    row.ratioMinimum = ratios.min()
    row.ratioMaximum = ratios.max()
    row.rounds = ratios.count
    if let limit {
      row.target = "≤ \(fixed(limit, 2))"
      row.isMet = ratios.percentile(50) <= limit
    }
    return row
  }

  static func failed(_ name: String, _ subject: String, _ error: BenchError) -> Row {
    var row = Row(name, subject)
    row.failure = error.message
    return row
  }
}

/// What the rows are given: where to run, what to run, and how long.
struct Bench {
  var workplace: Workplace
  var daemonPath: String
  /// For rows whose fastest baseline is not wanted.
  var baselineLoop: String?
  var rounds: Int
  /// Less of everything: does it run, not how fast is it.
  var isQuick: Bool

  /// The same with more and shorter rounds: where the scheduler puts a daemon's threads changes
  /// between rounds rather than within them, and decides a wakeup's figure.
  var often: Bench {
    var bench = self
    bench.rounds *= 5
    return bench
  }

  /// `full` samples, or a tenth of them in a quick run.
  func count(_ full: Int) -> Int { isQuick ? max(full / 10, 8) : full }

  /// Starts vsocfs with these regions.
  func startDaemon(_ regions: String..., name: String = "vsocfs") throws(BenchError) -> Daemon {
    try startDaemon(options: regions.flatMap { ["--region", $0] }, name: name)
  }

  func startDaemon(options: [String], name: String = "vsocfs") throws(BenchError) -> Daemon {
    let path = daemonPath
    return try Daemon(
      name, { ["/proc/self/exe", "launch", path, "-f"] + options + [$0] }, in: workplace)
  }

  func startBaseline(loop: String, name: String = "baseline") throws(BenchError) -> Daemon {
    try Daemon(
      name, { ["/proc/self/exe", "baseline", loop, $0] }, in: workplace)
  }

  /// Runs clients to their end.
  func run(_ clients: Client...) throws(BenchError) -> Board { try run(clients, handing: []) }

  func run(_ clients: [Client], handing descriptors: [Int32]) throws(BenchError) -> Board {
    let group = try ClientGroup(clients, handing: descriptors, in: workplace)
    try group.finish()
    return group.board
  }

  /// Rows that can fail by themselves: what follows them is measured all the same.
  func attempt(
    _ name: String, _ subject: String, _ body: () throws(BenchError) -> [Row]
  ) throws(BenchError) -> [Row] {
    do throws(BenchError) {
      return try body()
    } catch {
      if error.isInterruption { throw error }
      return [.failed(name, subject, error)]
    }
  }

  /// One side of a row: measures a round of it.
  typealias Measurement = () throws(BenchError) -> Samples

  func interleave(_ first: Measurement, _ second: Measurement) throws(BenchError) -> [Side] {
    try interleave(2) { (side) throws(BenchError) in side == 0 ? try first() : try second() }
  }

  func interleave(
    _ first: Measurement, _ second: Measurement, _ third: Measurement
  ) throws(BenchError) -> [Side] {
    try interleave(3) { (side) throws(BenchError) in
      switch side {
      case 0: try first()
      case 1: try second()
      default: try third()
      }
    }
  }

  /// Measures the sides by turns, every other round in the opposite order: what the machine does
  /// meanwhile hits all of them.
  func interleave(
    _ count: Int, _ measure: (Int) throws(BenchError) -> Samples
  ) throws(BenchError) -> [Side] {
    var sides = [Side](repeating: Side(), count: count)
    for round in 0..<rounds {
      for turn in 0..<count {
        let side = round.isMultiple(of: 2) ? turn : count - 1 - turn
        sides[side].rounds.append(try measure(side))
      }
    }
    return sides
  }
}

/// A row of the table, or a few that are measured together.
struct RowGroup: Sendable {
  var name: String
  var subject: String
  /// Run only when it is named.
  var isExtra = false
  var run: @Sendable (Bench) throws(BenchError) -> [Row]
}
