// SPDX-License-Identifier: Apache-2.0

/// What rows measure, in whichever modes.
struct Subject {
  var name: String
  var text: String
  /// The most that the specification wants the ratio to be; it speaks of passthrough.
  var limit: Double?
  /// The modes in which the daemon has a part in it. In the others the kernel and the memory decide.
  var daemonModes: Set<Mode>

  init(_ name: String, _ text: String, atMost limit: Double? = nil, daemonIn modes: Set<Mode>) {
    self.name = name
    self.text = text
    self.limit = limit
    daemonModes = modes
  }
}

/// A line of the table.
struct Row: Encodable {
  /// What decides the figure.
  enum Cost: String, Encodable {
    case memory
    case daemon
  }

  var name: String
  var subject: String
  /// Of the measured daemon; none where only baselines are compared.
  var mode: Mode?
  var cost: Cost?
  var baseline: String?
  var figure: Figure?
  var baselineFigure: Figure?
  /// The median of the rounds' ratios, and the least and the greatest of them.
  var ratio: Double?
  var ratioMinimum: Double?
  var ratioMaximum: Double?
  var rounds: Int?
  /// The target of the specification in words, and whether this run meets it.
  private(set) var target: String?
  private(set) var isMet: Bool?
  var notes: [String] = []
  /// Why there are no figures.
  var failure: String?

  init(_ subject: Subject, _ mode: Mode?) {
    name = subject.name
    self.subject = subject.text
    self.mode = mode
    cost = mode.map { subject.daemonModes.contains($0) ? .daemon : .memory }
  }

  /// Two sides whose rounds were interleaved.
  static func comparing(
    _ subject: Subject, _ mode: Mode?, _ side: Side, to baseline: String, _ baselineSide: Side
  ) -> Row {
    var row = Row(subject, mode)
    row.baseline = baseline
    row.failure = side.failure ?? baselineSide.failure.map { "\(baseline): \($0)" }
    guard row.failure == nil else { return row }
    row.figure = side.figure()
    row.baselineFigure = baselineSide.figure()
    let ratios = zip(side.rounds, baselineSide.rounds).map {
      $0.percentile(50) / $1.percentile(50)
    }
    row.ratio = ratios.percentile(50)
    row.ratioMinimum = ratios.min()
    row.ratioMaximum = ratios.max()
    row.rounds = ratios.count
    if let limit = subject.limit {
      row.setTarget("≤ \(fixed(limit, 2))", isMet: ratios.percentile(50) <= limit)
    }
    return row
  }

  /// How far the rounds are apart.
  var ratioRange: String? {
    guard let least = ratioMinimum, let greatest = ratioMaximum else { return nil }
    return "\(fixed(least, 2))–\(fixed(greatest, 2))"
  }

  static func failed(_ name: String, _ text: String, _ error: BenchError) -> Row {
    var row = Row(Subject(name, text, daemonIn: []), nil)
    row.failure = error.message
    return row
  }

  /// Says what is wanted of the row, if it is one of those of which something is.
  mutating func setTarget(_ text: String, isMet: Bool) {
    guard mode == .passthrough, failure == nil else { return }
    target = text
    self.isMet = isMet
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
