// SPDX-License-Identifier: Apache-2.0

internal import CVsocBench
internal import Glibc

/// A child of the benchmark: ended by its pidfd, so that no other process is ever hit.
final class Child {
  let pid: Int32
  let descriptor: Int32
  let name: String
  private var status: Int32?

  init(
    _ name: String, arguments: [String], descriptors: [Int32], errorDescriptor: Int32
  ) throws(BenchError) {
    let pid = unsafe withCStrings(arguments) { argv in
      unsafe vsocfs_bench_spawn(argv, descriptors, Int32(descriptors.count), errorDescriptor)
    }
    self.name = name
    self.pid = try check("start of \(name)", pid)
    descriptor = vsocfs_bench_pidfd(pid)
    if descriptor < 0 { throw BenchError("pidfd_open: \(errorText(-descriptor))") }
  }

  deinit {
    close(descriptor)
  }

  /// The wait status, if the process has ended.
  func ended() -> Int32? {
    if status == nil {
      let result = vsocfs_bench_reap(pid)
      if result >= 0 { status = result }
    }
    return status
  }

  func signal(_ number: Int32) {
    if ended() == nil { _ = vsocfs_bench_kill(descriptor, number) }
  }

  /// Waits for the end, at most until `deadline`; nil then. Also ends when the user interrupts.
  func wait(until deadline: Deadline) -> Int32? {
    while ended() == nil {
      let left = deadline.milliseconds
      if left == 0 { return nil }
      _ = unsafe vsocfs_bench_await([descriptor], 1, Int32(min(left, 100)))
    }
    return status
  }

  static func describe(_ status: Int32) -> String {
    let signal = status & 0x7f
    if signal == 0 { return "exit status \(status >> 8 & 0xff)" }
    if signal == SIGALRM { return "ended by its deadline" }
    if signal == SIGSYS { return "made a forbidden system call" }
    return "ended by signal \(signal)"
  }
}

/// A point in time after which nothing is waited for any more.
struct Deadline {
  private let end: UInt64

  init(seconds: Double) {
    end = vsocfs_bench_now() + UInt64(seconds * 1e9)
  }

  /// What is left, rounded up; 0 once it has passed.
  var milliseconds: Int {
    let now = vsocfs_bench_now()
    return now >= end ? 0 : Int((end - now) / 1_000_000 + 1)
  }
}

/// What the whole run has: a temporary directory, the readiness socket, the user's signals.
final class Workplace {
  /// Seconds that one round of a row may take, its clients included.
  static let roundLimit = 60.0

  let directory: String
  let notifySocket: Int32
  private let signals: Int32
  private var paths = 0

  init() throws(BenchError) {
    let pattern = "\(Self.temporaryDirectory)/vsocfs-bench.XXXXXX"
    var path = Array(pattern.utf8CString)
    guard unsafe mkdtemp(&path) != nil else { throw BenchError("mkdtemp: \(errorText(errno))") }
    directory = String(decoding: path.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    signals = try check("signalfd", vsocfs_bench_catch_signals())
    notifySocket = try check(
      "notify socket", unsafe vsocfs_bench_notify_socket(directory + "/notify"))
  }

  deinit {
    for file in ["notify", "errors", "layout"] { unsafe unlink("\(directory)/\(file)") }
    unsafe rmdir(directory)
    close(signals)
    close(notifySocket)
  }

  private static var temporaryDirectory: String {
    unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
  }

  /// Waits for one of `descriptors`: its index, or nil after `deadline`.
  func waitForOne(of descriptors: [Int32], until deadline: Deadline) throws(BenchError) -> Int? {
    let all = [signals] + descriptors
    while true {
      let left = deadline.milliseconds
      let index = unsafe vsocfs_bench_await(all, Int32(all.count), Int32(left))
      if index == 0 { throw BenchError.interrupted }
      if index > 0 { return Int(index) - 1 }
      if index != -EINTR && left == 0 { return nil }
      if index != -EINTR && index != -ETIMEDOUT { throw BenchError("poll: \(errorText(-index))") }
    }
  }

  /// A name that no earlier row left something under.
  func newPath(_ name: String) -> String {
    paths += 1
    return "\(directory)/\(name)-\(paths)"
  }

  func sleep(_ seconds: Double) throws(BenchError) {
    _ = try waitForOne(of: [], until: Deadline(seconds: seconds))
  }

  /// A fresh file for a child's stderr.
  func openErrors() throws(BenchError) -> Int32 {
    let file = unsafe open(
      "\(directory)/errors", O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw BenchError("errors: \(errorText(errno))") }
    return file
  }

  /// The last line that a child wrote there.
  func lastLine(of file: Int32) -> String? {
    var bytes = [UInt8](repeating: 0, count: 8192)
    let size = lseek(file, 0, SEEK_END)
    let length = unsafe pread(file, &bytes, bytes.count, max(0, size - off_t(bytes.count)))
    guard length > 0 else { return nil }
    return String(decoding: bytes.prefix(length), as: UTF8.self)
      .split(separator: "\n").last.map(String.init)
  }
}

private func withCStrings<Result>(
  _ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Result
) -> Result {
  var pointers = unsafe strings.map { unsafe UnsafePointer<CChar>(strdup($0)) }
  unsafe pointers.append(nil)
  defer {
    for index in strings.indices { unsafe free(UnsafeMutablePointer(mutating: pointers[index])) }
  }
  return unsafe body(pointers)
}
