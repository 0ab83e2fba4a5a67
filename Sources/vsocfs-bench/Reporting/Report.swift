// SPDX-License-Identifier: Apache-2.0

internal import FoundationEssentials
internal import Glibc

/// The result of a run, as it goes into the JSON file.
struct Report: Encodable {
  var rows: [Row]
  var rounds: Int
  var isQuick: Bool
  var kernel: String
  var processors: Int
  /// Of the minute before the first row: on a busy machine the figures say little.
  var loadBefore: String
  /// Why rows of a mode are missing.
  var omissions: [String]

  init(rows: [Row], bench: Bench, loadBefore: String) {
    self.rows = rows
    self.loadBefore = loadBefore
    rounds = bench.rounds
    isQuick = bench.isQuick
    omissions = bench.omissions
    kernel =
      readFile("/proc/sys/kernel/osrelease")?.split(separator: "\n").first.map(String.init)
      ?? "unknown"
    processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
  }

  func json() throws(BenchError) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    do {
      return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    } catch {
      throw BenchError("JSON: \(error)")
    }
  }

  /// The load average of the last minute.
  static var load: String {
    readFile("/proc/loadavg")?.split(separator: " ").first.map(String.init) ?? "unknown"
  }

  /// The table, one line a row; notes and failures stand below their row.
  func table() -> String {
    let head = [
      "row", "what", "mode", "cost", "median", "p99", "baseline", "median", "p99", "ratio",
      "min–max", "target", "",
    ]
    let lines = rows.map(cells)
    let widths = head.indices.map { column in
      ([head] + lines.map(\.cells)).map { $0[column].count }.max() ?? 0
    }
    let numeric: Set = [4, 5, 7, 8, 9, 10]
    func join(_ cells: [String]) -> String {
      let padded = cells.enumerated().map { column, text in
        let space = String(repeating: " ", count: widths[column] - text.count)
        return numeric.contains(column) ? space + text : text + space
      }
      var line = padded.joined(separator: "  ")
      while line.last == " " { line.removeLast() }
      return line
    }
    var text = join(head) + "\n" + join(widths.map { String(repeating: "-", count: $0) }) + "\n"
    for (cells, notes) in lines {
      text += join(cells) + "\n"
      for note in notes { text += "    \(note)\n" }
    }
    for omission in omissions { text += "\(omission)\n" }
    return text + "\(circumstances)\n"
  }

  private var circumstances: String {
    "\(processors) CPUs, Linux \(kernel), \(rounds) rounds, load before \(loadBefore)"
  }

  private func cells(of row: Row) -> (cells: [String], notes: [String]) {
    func figures(_ figure: Figure?) -> [String] {
      figure.map { [$0.unit.text($0.median), $0.unit.text($0.p99)] } ?? ["-", "-"]
    }
    let verdict = row.failure != nil ? "FAILED" : row.isMet.map { $0 ? "met" : "MISSED" } ?? ""
    let cells =
      [row.name, row.subject, row.mode?.rawValue ?? "-", row.cost?.rawValue ?? "-"]
      + figures(row.figure) + [row.baseline ?? "-"] + figures(row.baselineFigure)
      + [row.ratio.map { fixed($0, 3) } ?? "-", row.ratioRange ?? "-", row.target ?? "-", verdict]
    return (cells, row.notes + (row.failure.map { ["failed: \($0)"] } ?? []))
  }

  /// The table for a document, a line a row; what is to be said of rows stands below it.
  func markdown() -> String {
    var text = """
      | row | mode | cost | median | baseline (median) | ratio | min–max | target | |
      |---|---|---|---|---|---|---|---|---|

      """
    for row in rows {
      let verdict =
        row.failure != nil ? "failed" : row.isMet.map { $0 ? "met" : "**missed**" } ?? ""
      let baseline = row.baselineFigure.map { "\(row.baseline ?? "") \($0.unit.text($0.median))" }
      let cells = [
        "`\(row.name)`", row.mode?.rawValue, row.cost?.rawValue,
        row.figure.map { $0.unit.text($0.median) }, baseline, row.ratio.map { fixed($0, 2) },
        row.ratioRange, row.target ?? "reported", verdict,
      ]
      text += "| " + cells.map { $0 ?? "–" }.joined(separator: " | ") + " |\n"
    }
    text += "\n\(circumstances).\n\n"
    for row in rows {
      for note in row.notes + (row.failure.map { ["failed: \($0)"] } ?? []) {
        text += "- `\(row.name)`, \(row.mode?.rawValue ?? "–"): \(note)\n"
      }
    }
    for omission in omissions { text += "- \(omission)\n" }
    return text
  }
}

/// Writes a whole file.
func writeFile(_ path: String, _ text: String) throws(BenchError) {
  let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  guard file >= 0 else { throw BenchError("\(path): \(errorText(errno))") }
  defer { close(file) }
  var rest = Array(text.utf8)[...]
  while !rest.isEmpty {
    let written = unsafe rest.withUnsafeBytes { unsafe write(file, $0.baseAddress, $0.count) }
    guard written > 0 else { throw BenchError("\(path): \(errorText(errno))") }
    rest = rest.dropFirst(written)
  }
}
