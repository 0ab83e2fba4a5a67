// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What /proc tells of another process.
enum Proc {
  /// Where a thread sleeps in the kernel.
  enum Place {
    /// In a FUSE request that is not answered yet.
    case request
    /// For a page that is being read.
    case page
    case poll
    case select
    case epoll
    case futex

    /// Functions of the kernel, one of which is on the stack of a thread that sleeps there.
    fileprivate var functions: [String] {
      switch self {
      case .request: ["request_wait_answer", "__fuse_simple_request", "__fuse_request_send"]
      case .page: ["folio_wait_bit_common", "wait_on_page_bit_common"]
      case .poll: ["do_sys_poll", "do_poll"]
      case .select: ["do_select"]
      case .epoll: ["ep_poll", "do_epoll_wait"]
      case .futex: ["futex_wait", "futex_wait_queue"]
      }
    }
  }

  static func threads(of pid: Int32) -> [String] {
    names(in: "/proc/\(pid)/task")
  }

  /// The threads that sleep at `place`, each with the number of times that it ever slept: the same
  /// answer twice means that they did not stir in between.
  static func sleepers(of pid: Int32, at place: Place) -> [String: String] {
    var sleepers: [String: String] = [:]
    for thread in threads(of: pid) {
      let task = "/proc/\(pid)/task/\(thread)"
      guard let stack = contents(of: task + "/stack") else { continue }
      guard place.functions.contains(where: { stack.contains($0) }) else { continue }
      // A thread that asks the daemon on its way to sleep is not there yet.
      if place != .request, place != .page, stack.contains("fuse_simple_request") { continue }
      sleepers[thread] = value(of: "voluntary_ctxt_switches", in: task + "/status")
    }
    return sleepers
  }

  /// Waits until `count` threads of `pid` sleep at `place` and have stayed there for a while: a
  /// request that the daemon is about to answer is not what anybody waits for.
  static func waitForSleepers(
    _ pid: Int32, at place: Place, count: Int, within milliseconds: Int = Deadline.usual
  ) throws {
    var before: [String: String] = [:]
    var quietRounds = 0
    try eventually(
      "\(count) threads of \(pid) asleep in \(place)\n\(describe(pid))", within: milliseconds
    ) {
      let now = sleepers(of: pid, at: place)
      quietRounds = now.count >= count && now == before ? quietRounds + 1 : 0
      before = now
      return quietRounds >= 5
    }
  }

  /// CPU time of all threads since its start, in milliseconds.
  static func cpuTime(of pid: Int32) -> Double {
    // Nanoseconds on a CPU, by thread: finer than the ticks in /proc/PID/stat.
    threads(of: pid).reduce(0) { sum, thread in
      let text = contents(of: "/proc/\(pid)/task/\(thread)/schedstat") ?? ""
      return sum + (text.split(separator: " ").first.flatMap { Double($0) } ?? 0) / 1e6
    }
  }

  /// Whether a process is the guard of a daemon.
  static func isGuard(_ pid: Int32) -> Bool {
    contents(of: "/proc/\(pid)/comm") == "vsocfs-guard\n"
  }

  /// Resident memory in KiB.
  static func residentMemory(of pid: Int32) -> Int {
    Int(value(of: "VmRSS", in: "/proc/\(pid)/status")?.split(separator: " ").first ?? "") ?? 0
  }

  /// Whether there is such a process that has not ended.
  static func isAlive(_ pid: Int32) -> Bool {
    guard let state = value(of: "State", in: "/proc/\(pid)/status") else { return false }
    return !state.hasPrefix("Z") && !state.hasPrefix("X")
  }

  /// The user whom a process acts for; nil if there is no such process.
  static func user(of pid: Int32) -> UInt32? {
    let ids = value(of: "Uid", in: "/proc/\(pid)/status")?.split(separator: "\t")
    return (ids?.first).flatMap { UInt32($0) }
  }

  /// The processes whose command line ends with `argument`.
  static func processes(withLastArgument argument: String) -> [Int32] {
    names(in: "/proc").compactMap { name in
      guard let pid = Int32(name), let line = contents(of: "/proc/\(pid)/cmdline") else {
        return nil
      }
      return line.split(separator: "\0").last.map(String.init) == argument && isAlive(pid)
        ? pid : nil
    }
  }

  /// The daemons of this build with a mountpoint in this directory.
  static func daemons(below path: String) -> [Int32] {
    names(in: "/proc").compactMap { name in
      guard let pid = Int32(name), let line = contents(of: "/proc/\(pid)/cmdline") else {
        return nil
      }
      let arguments = line.split(separator: "\0")
      return arguments.first.map(String.init) == Programs.daemon
        && arguments.last?.hasPrefix(path) == true ? pid : nil
    }
  }

  static func value(of key: String, in file: String) -> String? {
    for line in (contents(of: file) ?? "").split(separator: "\n") {
      guard line.hasPrefix(key + ":") else { continue }
      return line.dropFirst(key.count + 1).drop { $0 == "\t" || $0 == " " }.description
    }
    return nil
  }

  /// What every thread of a process is doing, for the messages of failures.
  static func describe(_ pid: Int32) -> String {
    var text = ""
    for thread in threads(of: pid).prefix(40) {
      let task = "/proc/\(pid)/task/\(thread)"
      func field(_ name: String) -> String {
        (contents(of: task + "/" + name) ?? "?").trimmed
      }
      text += "  thread \(thread) \(field("comm")) wchan \(field("wchan"))\n"
      for line in field("stack").split(separator: "\n").prefix(8) { text += "    \(line)\n" }
    }
    return text.isEmpty ? "  (no process \(pid))\n" : text
  }
}

extension String {
  /// Without white space at its end.
  var trimmed: String {
    var text = Substring(self)
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }
}
