// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import LinuxSystem
internal import Logging

/// Where lines go, and what they look like there.
package enum LogDestination: Hashable, Sendable {
  /// `vsocfs: warning: text`: somebody reads it.
  case standardError
  /// `<4>text` on standard error, which is a stream of the journal (sd-daemon(3)).
  case journalStream
  /// A datagram for /dev/log, as syslog(3) sends them: to the journal, or whoever listens there.
  case systemLog(path: String)

  package static let systemLog = LogDestination.systemLog(path: "/dev/log")

  /// Standard error, as what it is.
  package static var foreground: LogDestination {
    guard let stream = unsafe getenv("JOURNAL_STREAM"),
      StandardStreams.isStandardError(unsafe String(cString: stream))
    else { return .standardError }
    return .journalStream
  }

  /// A line without its end.
  func line(_ text: String, _ level: Logger.Level, at time: Int64, process: Int32) -> String {
    switch self {
    case .standardError: "vsocfs: \(level.rawValue): \(text)"
    case .journalStream: "<\(level.priority)>\(text)"
    case .systemLog:
      "<\(level.priority | Self.daemonFacility)>\(timestamp(time)) vsocfs[\(process)]: \(text)"
    }
  }

  private static let daemonFacility = 3 << 3

  /// As RFC 3164 has it, in local time.
  private func timestamp(_ time: Int64) -> String {
    var seconds = time_t(time)
    var parts = unsafe tm()
    var text = [UInt8](repeating: 0, count: 32)
    let length = unsafe text.withUnsafeMutableBytes { bytes in
      unsafe localtime_r(&seconds, &parts) == nil
        ? 0 : unsafe strftime(bytes.baseAddress!, bytes.count, "%b %e %H:%M:%S", &parts)
    }
    return String(decoding: text[..<length], as: UTF8.self)
  }

  /// Nobody waits for a system log that has no room.
  ///
  /// - Returns: whether the line was taken.
  func write(_ line: String) -> Bool {
    switch self {
    case .standardError, .journalStream: StandardStreams.writeError(line + "\n")
    case .systemLog(let path): Datagram.send(line, to: path, waits: false)
    }
  }
}

extension Logger.Level {
  /// That of syslog(3).
  var priority: Int {
    switch self {
    case .critical: 2
    case .error: 3
    case .warning: 4
    case .notice: 5
    case .info: 6
    case .debug, .trace: 7
    }
  }
}
