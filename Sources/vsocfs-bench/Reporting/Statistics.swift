// SPDX-License-Identifier: Apache-2.0

/// Samples of one side in one round.
typealias Samples = [Double]

extension [Double] {
  /// The nearest-rank percentile; the median of an even number of values is the mean of two.
  func percentile(_ percent: Double) -> Double {
    guard !isEmpty else { return .nan }
    let sorted = self.sorted()
    if percent == 50 && count.isMultiple(of: 2) {
      return (sorted[count / 2 - 1] + sorted[count / 2]) / 2
    }
    let rank = Int((percent / 100 * Double(count)).rounded(.up))
    return sorted[Swift.min(Swift.max(rank, 1), count) - 1]
  }
}

/// All rounds of one side, in order.
struct Side {
  var rounds: [Samples] = []
  /// Why it was given up.
  var failure: String?

  func figure(_ unit: Unit = .time) -> Figure {
    let all = rounds.flatMap(\.self)
    return Figure(
      median: all.percentile(50), p99: all.percentile(99), samples: all.count, unit: unit)
  }
}

/// A measured figure as it is printed.
struct Figure: Encodable {
  var median: Double
  var p99: Double
  var samples: Int
  var unit: Unit
}

enum Unit: String, Encodable {
  case time = "ns"
  case size = "bytes"

  func text(_ value: Double) -> String {
    guard value.isFinite else { return "-" }
    let scale: [(Double, String)] =
      switch self {
      case .time: [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (0, "ns")]
      case .size: [(0x1p30, "GiB"), (0x1p20, "MiB"), (0x1p10, "KiB"), (0, "B")]
      }
    let (unit, name) = scale.first { abs(value) >= $0.0 } ?? scale[scale.count - 1]
    return "\(fixed(unit == 0 ? value : value / unit, 2)) \(name)"
  }
}

/// Text with a fixed number of decimals, without Foundation's formatters.
func fixed(_ value: Double, _ decimals: Int) -> String {
  guard value.isFinite else { return "-" }
  var power = 1.0
  for _ in 0..<decimals { power *= 10 }
  let scaled = (abs(value) * power).rounded()
  guard scaled < 1e15 else { return "\(value)" }
  let digits = Int(scaled)
  let fraction = "\(digits % Int(power))"
  let sign = value < 0 && digits != 0 ? "-" : ""
  let zeros = String(repeating: "0", count: decimals - fraction.count)
  return decimals == 0 ? "\(sign)\(digits)" : "\(sign)\(digits / Int(power)).\(zeros)\(fraction)"
}
