// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

/// A program that this process started: lines go in, lines come out, and every wait has a deadline.
/// Whoever forgets it kills it.
final class ChildProcess {
  let name: String
  let pid: Int32
  private var input: Int32
  private let output: Int32
  /// What was read and not yet given out as a line.
  private var pending: [UInt8] = []
  private(set) var isAtEnd = false
  /// Everything it ever said (standard output and error), for the messages of failures.
  private(set) var transcript = ""
  private(set) var status: Int32?

  /// Starts `path`.
  ///
  /// - Parameters:
  ///   - arguments: without the program's own name.
  ///   - environment: the child's whole environment, but for the usual PATH.
  ///   - log: a file that gets standard output and error instead of this object.
  ///   - deathSignal: sent if this process dies first.
  ///   - identity: who runs it, and in which world; nil: as this process is.
  init(
    _ path: String, _ arguments: [String], environment: [String: String] = [:],
    log: String? = nil, deathSignal: Int32 = SIGKILL, as identity: mt_identity? = nil
  ) throws {
    name = path.split(separator: "/").last.map(String.init) ?? path
    // One that has ended is told by the failed write.
    _ = Glibc.signal(SIGPIPE, SIG_IGN)
    let (inputEnd, parentInput) = try Self.pipe()
    let (parentOutput, outputEnd) = try Self.pipe()
    var childOutput = outputEnd
    if let log {
      childOutput = unsafe open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    }
    defer {
      close(inputEnd)
      close(outputEnd)
      if log != nil { close(childOutput) }
    }
    // The child gets a blocking input: only the parent's read ends are non-blocking.
    _ = fcntl(inputEnd, F_SETFL, 0)
    var variables = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    variables.merge(environment) { $1 }
    for name in ["TSAN_OPTIONS", "ASAN_OPTIONS", "LSAN_OPTIONS", "LD_LIBRARY_PATH"] {
      if let value = unsafe getenv(name) { unsafe variables[name] = String(cString: value) }
    }
    var argv = unsafe ([path] + arguments).map { unsafe strdup($0) }
    var envp = unsafe variables.map { unsafe strdup("\($0.key)=\($0.value)") }
    unsafe argv.append(nil)
    unsafe envp.append(nil)
    if var identity {
      pid = unsafe mt_spawn(
        path, argv, envp, inputEnd, childOutput, childOutput, deathSignal, &identity)
    } else {
      pid = unsafe mt_spawn(path, argv, envp, inputEnd, childOutput, childOutput, deathSignal, nil)
    }
    for index in unsafe argv.indices { unsafe free(argv[index]) }
    for index in unsafe envp.indices { unsafe free(envp[index]) }
    input = parentInput
    output = parentOutput
    if pid < 0 { throw HarnessError("cannot start \(path): errno \(-pid)") }
  }

  deinit {
    kill()
    closeInput()
    close(output)
  }

  private static func pipe() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [0, 0]
    let result = unsafe mt_pipe(&ends)
    guard result >= 0 else { throw HarnessError("pipe: errno \(-result)") }
    return (ends[0], ends[1])
  }

  // MARK: Lines

  func send(line: String) throws {
    let bytes = Array((line + "\n").utf8)
    guard unsafe write(input, bytes, bytes.count) == bytes.count else {
      throw HarnessError("\(name) does not read: errno \(errno); it said: \(transcript)")
    }
  }

  func closeInput() {
    if input >= 0 { close(input) }
    input = -1
  }

  /// The next line of output.
  func line(within milliseconds: Int = Deadline.usual) throws -> String {
    try line(until: Deadline(milliseconds: milliseconds))
  }

  func line(until deadline: Deadline) throws -> String {
    while true {
      if let newline = pending.firstIndex(of: UInt8(ascii: "\n")) {
        let line = String(decoding: pending[..<newline], as: UTF8.self)
        pending.removeSubrange(...newline)
        return line
      }
      if isAtEnd { throw HarnessError("\(name) has ended; it said: \(transcript)") }
      guard try readSome(deadline) else {
        throw HarnessError(
          "\(name) said no line in time; it said: \(transcript)\n"
            + Proc.describe(pid))
      }
    }
  }

  /// Whether there is a line of output already.
  var hasLine: Bool {
    get throws {
      _ = try readSome(Deadline(milliseconds: 0))
      return pending.contains(UInt8(ascii: "\n"))
    }
  }

  /// All output until its end.
  func rest(within milliseconds: Int = Deadline.usual) throws -> String {
    let deadline = Deadline(milliseconds: milliseconds)
    while !isAtEnd {
      guard try readSome(deadline) else {
        throw HarnessError(
          "\(name) did not end within \(milliseconds) ms; it said: \(transcript)\n"
            + Proc.describe(pid))
      }
    }
    defer { pending = [] }
    return String(decoding: pending, as: UTF8.self)
  }

  /// False at the deadline.
  private func readSome(_ deadline: Deadline) throws -> Bool {
    let ready = mt_readable(output, deadline.left)
    if ready < 0 { throw HarnessError("poll: errno \(-ready)") }
    if ready == 0 { return false }
    var chunk = [UInt8](repeating: 0, count: 65536)
    let count = unsafe read(output, &chunk, chunk.count)
    if count <= 0 {
      isAtEnd = count == 0 || errno != EAGAIN
      return true
    }
    pending += chunk[..<count]
    transcript += String(decoding: chunk[..<count], as: UTF8.self)
    return true
  }

  // MARK: Its end

  var hasEnded: Bool {
    get throws { try reap(milliseconds: 0) }
  }

  /// Its exit status, or minus the signal that killed it.
  func wait(within milliseconds: Int = Deadline.usual) throws -> Int32 {
    guard try reap(milliseconds: milliseconds), let status else {
      throw HarnessError(
        "\(name) (\(pid)) did not end within \(milliseconds) ms; it said: \(transcript)\n"
          + Proc.describe(pid))
    }
    return status
  }

  private func reap(milliseconds: Int) throws -> Bool {
    if status != nil { return true }
    var waitStatus: Int32 = 0
    let result = unsafe mt_wait(pid, Deadline(milliseconds: milliseconds).left, &waitStatus)
    if result < 0 { throw HarnessError("cannot wait for \(name): errno \(-result)") }
    if result == 1 { status = mt_exit_status(waitStatus) }
    return result == 1
  }

  func signal(_ number: Int32) {
    if status == nil && pid > 0 { Glibc.kill(pid, number) }
  }

  /// Ends it for certain: true if it did not have to be waited for in vain.
  @discardableResult
  func kill() -> Bool {
    signal(SIGKILL)
    return pid < 0 || (try? reap(milliseconds: Deadline.usual)) == true
  }
}
