// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import LinuxSystem
package import Logging
internal import Synchronization

/// The log of a daemon: one line an event, and few for events of one kind that come in numbers.
///
/// May be used from any thread. Its lock is a leaf and not held while a line is written.
package final class DaemonLog: Sendable {
  /// Where in the program a line comes from: lines from one place are of one kind.
  private struct Place: Hashable {
    let file: String
    let line: UInt
  }

  private struct State {
    var destination: LogDestination
    var allowances: [Place: LineAllowance] = [:]
  }

  private let state: Lock<State>
  private let leftOut = Atomic(0)
  private let level: Logger.Level
  private let now: @Sendable () -> MonotonicInstant

  /// - Parameter level: lines of less importance are not logged.
  package convenience init(_ destination: LogDestination, level: Logger.Level) {
    self.init(destination, level: level, now: { .now })
  }

  init(
    _ destination: LogDestination, level: Logger.Level,
    now: @escaping @Sendable () -> MonotonicInstant
  ) {
    state = Lock(State(destination: destination))
    self.level = level
    self.now = now
  }

  /// Where lines go from now on.
  package var destination: LogDestination {
    get { state.withLock { $0.destination } }
    set { state.withLock { $0.destination = newValue } }
  }

  /// How many lines were not written: too many of a kind, or not taken by where they go.
  package var suppressedLines: Int { leftOut.load(ordering: .relaxed) }

  package var logger: Logger {
    Logger(label: "vsocfs") { _ in DaemonLogHandler(log: self, logLevel: level) }
  }

  func record(_ event: LogEvent) {
    let place = Place(file: event.file, line: event.line)
    let (verdict, destination) = state.withLock { state in
      (state.allowances[place, default: LineAllowance()].take(at: now()), state.destination)
    }
    guard case .granted(let count, let isLast) = verdict else { return countLeftOut() }
    var text = Self.oneLine(event.message.description)
    if count > 0 {
      text += " (\(count) like it before were left out)"
    } else if isLast {
      text += " (more like it will be left out for a while)"
    }
    let line = destination.line(
      text, event.level, at: Int64(time(nil)), process: getpid())
    if !destination.write(line) { countLeftOut() }
  }

  private func countLeftOut() {
    leftOut.wrappingAdd(1, ordering: .relaxed)
  }

  /// Names that clients choose may have any character: none of them begins another line, or steers a
  /// terminal.
  static func oneLine(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: \.isControl) else { return text }
    return text.unicodeScalars.reduce(into: "") { result, scalar in
      result += scalar.isControl ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
    }
  }
}

extension Unicode.Scalar {
  fileprivate var isControl: Bool { properties.generalCategory == .control }
}

/// Hands the events of a logger to the log.
struct DaemonLogHandler: LogHandler {
  let log: DaemonLog
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]
  var metadataProvider: Logger.MetadataProvider?

  init(log: DaemonLog, logLevel: Logger.Level) {
    self.log = log
    self.logLevel = logLevel
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    log.record(event)
  }
}
