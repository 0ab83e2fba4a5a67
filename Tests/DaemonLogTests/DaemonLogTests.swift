// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import LinuxSystem
import Logging
import Testing

@testable import DaemonLog

@Suite struct DaemonLogTests {
  @Test(arguments: [
    (LogDestination.standardError, "vsocfs: warning: text"),
    (.journalStream, "<4>text"),
    (.systemLog(path: "/nonexistent"), "<28>Jan  2 03:04:05 vsocfs[7]: text"),
  ]) func `What a line looks like`(_ destination: LogDestination, _ wanted: String) {
    // Whatever the zone of the machine, the text is of that zone.
    var parts = unsafe tm()
    unsafe (parts.tm_year, parts.tm_mday, parts.tm_isdst) = (80, 2, -1)
    unsafe (parts.tm_hour, parts.tm_min, parts.tm_sec) = (3, 4, 5)
    let time = unsafe mktime(&parts)
    #expect(destination.line("text", .warning, at: Int64(time), process: 7) == wanted)
  }

  @Test func `Priorities are those of syslog`() {
    let levels: [Logger.Level] = [.critical, .error, .warning, .notice, .info, .debug]
    #expect(levels.map(\.priority) == [2, 3, 4, 5, 6, 7])
  }

  @Test func `Characters that steer are shown as numbers`() {
    #expect(
      DaemonLog.oneLine("a region \"\u{1b}[31m\nfake\u{85}\"")
        == #"a region "\u{1b}[31m\u{a}fake\u{85}""#)
    #expect(DaemonLog.oneLine("région ✓") == "région ✓")
  }

  @Test func `Standard error is a stream of the journal if that is what it is said to be`() throws {
    var status = stat()
    try #require(unsafe fstat(STDERR_FILENO, &status) == 0)
    #expect(StandardStreams.isStandardError("\(status.st_dev):\(status.st_ino)"))
    for other in ["\(status.st_dev):\(status.st_ino + 1)", "", "1", "a:b", "1:2:3"] {
      #expect(!StandardStreams.isStandardError(other))
    }
  }

  // MARK: To a system log

  /// A socket in the place of /dev/log.
  private final class Listener {
    let path: String
    let descriptor: Int32
    private let directory: String

    init() throws {
      var template = Array("/tmp/vsocfs-log-XXXXXX".utf8CString)
      try #require(unsafe mkdtemp(&template) != nil)
      directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      path = directory + "/log"
      descriptor = unsafe mt_notify_socket(path)
      try #require(descriptor >= 0)
    }

    deinit {
      close(descriptor)
      unsafe unlink(path)
      unsafe rmdir(directory)
    }

    /// All lines that have come, without what stands before the message.
    func lines() -> [String] {
      var lines: [String] = []
      var buffer = [UInt8](repeating: 0, count: 4096)
      while true {
        let count = unsafe recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        guard count >= 0 else { return lines }
        let line = String(decoding: buffer[..<count], as: UTF8.self)
        lines.append(line.split(separator: "]: ", maxSplits: 1).last.map(String.init) ?? line)
      }
    }
  }

  /// A clock that stands still but when it is moved.
  private final class Clock: Sendable {
    private let time = Lock<UInt64>(1_000_000_000_000)
    var now: MonotonicInstant { MonotonicInstant(nanoseconds: time.withLock { $0 }) }
    func advance(seconds: UInt64) { time.withLock { $0 += seconds * 1_000_000_000 } }
  }

  @Test func `A flood of one kind is cut, another kind is heard, and what is left out is counted`()
    throws
  {
    let listener = try Listener()
    let clock = Clock()
    let log = DaemonLog(.systemLog(path: listener.path), level: .notice) { clock.now }
    let logger = log.logger
    func flood(_ count: Int) -> [String] {
      // Its queue is shorter than the flood.
      (0..<count).flatMap { number in
        logger.warning("client \(number)")
        return listener.lines()
      }
    }
    #expect(
      flood(1000)
        == (0..<19).map { "client \($0)" } + [
          "client 19 (more like it will be left out for a while)"
        ]
    )
    #expect(log.suppressedLines == 980)
    logger.error("something else")
    #expect(listener.lines() == ["something else"])
    clock.advance(seconds: 5)
    #expect(flood(3) == ["client 0 (980 like it before were left out)"])
    #expect(log.suppressedLines == 982)
  }

  @Test func `Levels below the one that is wanted are not logged, nor counted`() throws {
    let listener = try Listener()
    let log = DaemonLog(.systemLog(path: listener.path), level: .warning)
    log.logger.notice("not wanted")
    log.logger.warning("wanted")
    #expect(listener.lines() == ["wanted"])
    #expect(log.suppressedLines == 0)
  }

  @Test func `A system log that is full or gone is not waited for`() throws {
    let listener = try Listener()
    let clock = Clock()
    let log = DaemonLog(.systemLog(path: listener.path), level: .notice) { clock.now }
    // Far more than a queue of datagrams holds.
    for number in 0..<5000 {
      log.logger.notice("line \(number)")
      clock.advance(seconds: 5)
    }
    let taken = listener.lines().count
    #expect(taken > 0 && taken < 5000)
    #expect(log.suppressedLines == 5000 - taken)
    unsafe unlink(listener.path)
    log.logger.notice("nobody hears")
    #expect(log.suppressedLines == 5001 - taken)
  }

  @Test func `Lines go elsewhere from one moment to the next`() throws {
    let (one, other) = (try Listener(), try Listener())
    let log = DaemonLog(.systemLog(path: one.path), level: .notice)
    let logger = log.logger
    logger.notice("first")
    log.destination = .systemLog(path: other.path)
    logger.notice("second")
    #expect(one.lines() == ["first"])
    #expect(other.lines() == ["second"])
  }
}
