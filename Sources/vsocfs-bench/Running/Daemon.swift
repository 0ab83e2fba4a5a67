// SPDX-License-Identifier: Apache-2.0

internal import CVsocBench
internal import FoundationEssentials
internal import Glibc

/// A FUSE daemon on a mountpoint of its own: vsocfs, or the baseline.
final class Daemon {
  let mountPoint: String
  /// That of vsocfs.
  let mode: Mode?
  /// From the start of the process to READY=1, in nanoseconds.
  private(set) var startTime = 0.0
  private let workplace: Workplace
  private let name: String
  private let errors: Int32
  private var child: Child?

  /// Starts `executable` and waits until it is ready.
  init(
    _ name: String, _ command: (_ mountPoint: String) -> [String], mode: Mode? = nil,
    in workplace: Workplace, limit: Double = Workplace.roundLimit
  ) throws(BenchError) {
    self.workplace = workplace
    self.name = name
    self.mode = mode
    mountPoint = workplace.newPath(name)
    errors = try workplace.openErrors()
    guard unsafe mkdir(mountPoint, 0o755) == 0 else {
      close(errors)
      throw BenchError("mkdir \(mountPoint): \(errorText(errno))")
    }
    do throws(BenchError) {
      try start(command(mountPoint), limit: limit)
    } catch {
      stop()
      throw error
    }
  }

  deinit {
    stop()
    close(errors)
  }

  private func start(_ arguments: [String], limit: Double) throws(BenchError) {
    while vsocfs_bench_notify_read(workplace.notifySocket) >= 0 {}  // what an earlier one said
    let begin = vsocfs_bench_now()
    let child = try Child(
      name, arguments: arguments, descriptors: [], errorDescriptor: errors)
    self.child = child
    let deadline = Deadline(seconds: limit)
    while vsocfs_bench_notify_read(workplace.notifySocket) != 1 {
      if let status = child.ended() {
        throw BenchError(
          workplace.lastLine(of: errors) ?? "\(name): \(Child.describe(status))")
      }
      let descriptors = [workplace.notifySocket, child.descriptor]
      if try workplace.waitForOne(of: descriptors, until: deadline) == nil {
        throw BenchError("\(name) was not ready within \(Int(limit)) s")
      }
    }
    startTime = Double(vsocfs_bench_now() - begin)
  }

  /// Ends the process, politely at first, and leaves nothing mounted. A daemon that does not even
  /// die, as it waits for itself, is let go by the end of its connection.
  func stop() {
    if let child {
      child.signal(SIGTERM)
      if child.wait(until: Deadline(seconds: 5)) == nil {
        child.signal(SIGKILL)
        _ = child.wait(until: Deadline(seconds: 5))
      }
    }
    child = nil
    if unsafe vsocfs_bench_is_mounted(mountPoint) {
      _ = unsafe vsocfs_bench_detach_mount(mountPoint)
    }
    unsafe rmdir(mountPoint)
    // There may be none.
    if mode == .store { try? FileManager.default.removeItem(atPath: Self.store(of: mountPoint)) }
  }

  /// Where the files of a daemon are that has a store.
  static func store(of mountPoint: String) -> String { "\(mountPoint).store" }

  func path(_ relative: String) -> String { "\(mountPoint)/\(relative)" }

  /// Nanoseconds of CPU time since the start, all threads together.
  func cpuTime() throws(BenchError) -> Double {
    guard let child else { throw BenchError("\(name) is not running") }
    let time = vsocfs_bench_cpu_time(child.pid)
    if time < 0 { throw BenchError("CPU time of \(name): \(errorText(Int32(-time)))") }
    return Double(time)
  }

  /// Confines all its threads to one of the two CPUs that clients are pinned to.
  func confine(to cpu: Int32) throws(BenchError) {
    guard let child else { throw BenchError("\(name) is not running") }
    try check("sched_setaffinity of \(name)", vsocfs_bench_confine(child.pid, cpu))
  }

  /// Waits until the daemon does nothing for a while: what was asked of it has been taken in.
  func settle(limit: Double = 10) throws(BenchError) {
    let deadline = Deadline(seconds: limit)
    var before = try cpuTime()
    while deadline.milliseconds > 0 {
      try workplace.sleep(0.1)
      let now = try cpuTime()
      if now - before < 100_000 { return }
      before = now
    }
    throw BenchError("\(name) did not come to rest within \(Int(limit)) s")
  }

  /// The fields of /proc/PID/status that are sizes, in bytes.
  func memory() throws(BenchError) -> [String: Double] {
    guard let child else { throw BenchError("\(name) is not running") }
    guard let text = readFile("/proc/\(child.pid)/status") else {
      throw BenchError("status of \(name): \(errorText(errno))")
    }
    var sizes: [String: Double] = [:]
    for line in text.split(separator: "\n") {
      let fields = line.split(whereSeparator: { $0 == ":" || $0 == "\t" || $0 == " " })
      guard fields.count == 3, fields[2] == "kB", let size = Double(fields[1]) else { continue }
      sizes[String(fields[0])] = size * 1024
    }
    return sizes
  }
}

extension Daemon {
  func makeRegion(_ name: String, size: Int) throws(BenchError) {
    guard unsafe mkdir(path(name), 0o755) == 0 else {
      throw BenchError("mkdir \(name): \(errorText(errno))")
    }
    if unsafe truncate(path("\(name)/data"), off_t(size)) != 0 {
      let error = errno
      removeRegion(name)
      throw BenchError("truncate \(name)/data: \(errorText(error))")
    }
  }

  /// The release of a client's handles may come a moment after its end: busy until then.
  func removeRegion(_ name: String) {
    let path = path(name)
    let deadline = Deadline(seconds: 2)
    while unsafe rmdir(path) != 0 && errno == EBUSY && deadline.milliseconds > 0 { usleep(1000) }
  }
}

func readFile(_ path: String) -> String? {
  let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { return nil }
  defer { close(file) }
  var bytes = [UInt8](repeating: 0, count: 16384)
  let length = unsafe read(file, &bytes, bytes.count)
  return length < 0 ? nil : String(decoding: bytes.prefix(length), as: UTF8.self)
}
