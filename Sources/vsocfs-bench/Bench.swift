// SPDX-License-Identifier: Apache-2.0

/// What the rows are given: where to run, what to run, and how long.
struct Bench {
  var workplace: Workplace
  var daemonPath: String
  /// The modes to be shown; those that this machine cannot do are taken out.
  var modes: [Mode]
  /// For rows whose fastest baseline is not wanted.
  var baselineLoop: String?
  var rounds: Int
  /// Less of everything: does it run, not how fast is it.
  var isQuick: Bool
  /// Why a mode is not shown.
  private(set) var omissions: [String] = []

  init(
    workplace: Workplace, daemonPath: String, modes: [Mode], baselineLoop: String?, rounds: Int,
    isQuick: Bool
  ) {
    self.workplace = workplace
    self.daemonPath = daemonPath
    self.modes = modes
    self.baselineLoop = baselineLoop
    self.rounds = rounds
    self.isQuick = isQuick
  }

  /// The same with more and shorter rounds: where the scheduler puts a daemon's threads changes
  /// between rounds rather than within them, and decides a wakeup's figure.
  var often: Bench {
    var bench = self
    bench.rounds *= 5
    return bench
  }

  /// The same for what is measured once.
  var once: Bench {
    var bench = self
    bench.rounds = 1
    return bench
  }

  /// `full` samples, or a tenth of them in a quick run.
  func count(_ full: Int) -> Int { isQuick ? max(full / 10, 8) : full }
}

// MARK: - Daemons and clients

extension Bench {
  /// Takes out the modes in which no daemon starts.
  mutating func omitImpossibleModes() throws(BenchError) {
    for mode in modes {
      do throws(BenchError) {
        try startDaemon(mode, options: ["--region", "bench"]).stop()
      } catch {
        if error.isInterruption { throw error }
        modes.removeAll { $0 == mode }
        omissions.append("no rows of \(mode.rawValue): \(error.message)")
      }
    }
    if modes.isEmpty { throw BenchError(omissions.joined(separator: "; ")) }
  }

  /// Starts vsocfs with these regions in each mode. With a store only where that is asked for:
  /// what concerns no files is as it is without one.
  func startDaemons(_ regions: String..., andStore: Bool = false) throws(BenchError) -> [Daemon] {
    var daemons: [Daemon] = []
    for mode in modes where mode != .store || andStore {
      daemons.append(try startDaemon(mode, options: regions.flatMap { ["--region", $0] }))
    }
    return daemons
  }

  func startDaemon(_ mode: Mode, options: [String]) throws(BenchError) -> Daemon {
    let path = daemonPath
    return try Daemon(
      "vsocfs",
      { mountPoint in
        ["/proc/self/exe", "launch", path, "-f"] + options
          + mode.options(store: Daemon.store(of: mountPoint)) + [mountPoint]
      }, mode: mode, in: workplace)
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
}

extension [Daemon] {
  func stop() {
    for daemon in self { daemon.stop() }
  }
}

// MARK: - Rounds

extension Bench {
  /// Measures the sides by turns, every other round in the opposite order: what the machine does
  /// meanwhile hits all of them. A side that fails is not measured again; the others are.
  func interleave(
    _ count: Int, _ measure: (Int) throws(BenchError) -> Samples
  ) throws(BenchError) -> [Side] {
    var sides = [Side](repeating: Side(), count: count)
    for round in 0..<rounds {
      for turn in 0..<count {
        let side = round.isMultiple(of: 2) ? turn : count - 1 - turn
        guard sides[side].failure == nil else { continue }
        do throws(BenchError) {
          sides[side].rounds.append(try measure(side))
        } catch {
          if error.isInterruption { throw error }
          sides[side].failure = error.message
        }
      }
    }
    return sides
  }

  /// The same with a side for each daemon, and then the baselines.
  func interleave(
    _ daemons: [Daemon], _ measure: (Daemon) throws(BenchError) -> Samples,
    baselines: Int, _ measureBaseline: (Int) throws(BenchError) -> Samples
  ) throws(BenchError) -> (daemons: [Side], baselines: [Side]) {
    let sides = try interleave(daemons.count + baselines) { (side) throws(BenchError) in
      side < daemons.count
        ? try measure(daemons[side]) : try measureBaseline(side - daemons.count)
    }
    return (Array(sides.prefix(daemons.count)), Array(sides.dropFirst(daemons.count)))
  }

  /// A row for each daemon, against one baseline.
  func compare(
    _ subject: Subject, on daemons: [Daemon], _ measure: (Daemon) throws(BenchError) -> Samples,
    to baseline: String, _ measureBaseline: () throws(BenchError) -> Samples
  ) throws(BenchError) -> [Row] {
    let sides = try interleave(
      daemons, measure, baselines: 1, { (_) throws(BenchError) in try measureBaseline() })
    return zip(daemons, sides.daemons).map { daemon, side in
      .comparing(subject, daemon.mode, side, to: baseline, sides.baselines[0])
    }
  }
}
