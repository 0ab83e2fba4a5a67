// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

/// A daemon in the foreground, with a mountpoint. `withMount` makes one and clears it away.
final class MountedDaemon {
  let mountpoint: String
  let mode = MountMode.current
  let process: ChildProcess
  private let logPath: String
  private let notifySocket: Int32
  private var clients: [Client] = []
  /// Parts of lines that the daemon may write to its standard error; anything else is a fault.
  var expectedLogLines: [String] = []

  /// Starts a daemon at `mountpoint`, and waits until it says that it is ready. `wrapper` is a program
  /// that becomes the daemon, with its first arguments.
  init(
    _ arguments: [String], at mountpoint: String, in directory: TemporaryDirectory,
    through wrapper: [String] = []
  ) throws {
    self.mountpoint = mountpoint
    let name = "\(mt_milliseconds())"
    logPath = directory.path + "/log." + name
    let socketPath = directory.path + "/notify." + name
    notifySocket = unsafe mt_notify_socket(socketPath)
    guard notifySocket >= 0 else { throw HarnessError("notify socket: errno \(-notifySocket)") }
    do {
      process = try ChildProcess(
        wrapper.isEmpty ? Programs.daemon : "/usr/bin/env",
        (wrapper.isEmpty ? [] : wrapper + [Programs.daemon]) + ["-f"]
          + MountMode.current.arguments + arguments + [mountpoint],
        environment: ["NOTIFY_SOCKET": socketPath], log: logPath, deathSignal: SIGTERM)
    } catch {
      close(notifySocket)
      throw error
    }
    do {
      try waitForNotification("READY=1")
    } catch {
      reportState()
      forceDown()
      throw error
    }
  }

  deinit {
    close(notifySocket)
  }

  var pid: Int32 { process.pid }

  /// A path inside the mount.
  func callAsFunction(_ path: String) -> String {
    path.isEmpty ? mountpoint : mountpoint + "/" + path
  }

  /// A path inside the mount, of a `data` to be mapped: where the memory is the page cache of an inode,
  /// only the guest end's can be.
  func mappable(_ path: String) -> String {
    guard mode == .pageCache, path.hasSuffix("/peer/data") else { return self(path) }
    return self(String(path.dropLast("/peer/data".count)) + "/data")
  }

  /// A client that is killed, if need be, before the mount goes.
  func client(_ abi: Client.ABI = .native) throws -> Client {
    let client = try Client(abi)
    clients.append(client)
    return client
  }

  /// What a client of its own replies to one command.
  @discardableResult
  func once(_ fields: String...) throws -> String {
    let client = try Client()
    try client.send(all: fields)
    defer { client.kill() }
    return try client.reply()
  }

  /// The content of a file of the mount.
  func read(_ path: String) throws -> String {
    guard let text = contents(of: self(path)) else {
      throw HarnessError("cannot read \(self(path)): errno \(errno)")
    }
    return text
  }

  /// The `key value` lines of an `info` or `stats` file.
  func facts(_ path: String) throws -> [String: String] {
    try read(path).split(separator: "\n").reduce(into: [:]) { facts, line in
      // A value may begin with a space, as names may.
      let key = line.prefix { $0 != " " }
      facts[String(key)] = String(line.dropFirst(key.count + 1))
    }
  }

  /// What it has said but for what every daemon says.
  var log: String {
    allOfLog.split(separator: "\n", omittingEmptySubsequences: false)
      .filter { line in !Self.routine.contains { line.hasPrefix("vsocfs: notice: " + $0) } }
      .joined(separator: "\n")
  }

  var allOfLog: String { contents(of: logPath) ?? "" }

  private static let routine = [
    "mounted at ", "clients of one region must trust one another ", "keeps ", "unmounted",
    "ended by a signal",
  ]

  // MARK: Its end

  /// Waits for a message such as `READY=1` on the notify socket.
  func waitForNotification(_ wanted: String, within milliseconds: Int = 20_000) throws {
    let deadline = Deadline(milliseconds: milliseconds)
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      // A daemon that fails to start says so by ending.
      let ready = mt_readable(notifySocket, min(deadline.left, 50))
      if ready == 1 {
        let count = unsafe recv(notifySocket, &buffer, buffer.count, 0)
        let text = String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
        if text.split(separator: "\n").contains(Substring(wanted)) { return }
      } else if try process.hasEnded {
        throw HarnessError("the daemon ended with \(process.status ?? 0) before \(wanted): \(log)")
      } else if deadline.left == 0 {
        throw HarnessError("no \(wanted) from the daemon within \(milliseconds) ms")
      }
    }
  }

  /// Ends the daemon with a signal, as its user would, and checks that it goes cleanly.
  func terminate(_ signal: Int32 = SIGTERM, sourceLocation: SourceLocation = #_sourceLocation) {
    process.signal(signal)
    expectCleanEnd(sourceLocation: sourceLocation)
  }

  /// Checks that the daemon ends by itself with status 0 and leaves nothing mounted.
  func expectCleanEnd(sourceLocation: SourceLocation = #_sourceLocation) {
    do {
      let status = try process.wait()
      #expect(status == 0, "the daemon's exit status", sourceLocation: sourceLocation)
    } catch {
      Issue.record("\(error)", sourceLocation: sourceLocation)
      reportState(sourceLocation: sourceLocation)
      forceDown()
    }
    #expect(
      !Mounts.contains(mountpoint), "still mounted after the daemon's end",
      sourceLocation: sourceLocation)
    forceDown()
  }

  /// Everything off, in any state: clients, daemon, mount. What a mount is left by is recorded.
  func clearAway(sourceLocation: SourceLocation = #_sourceLocation) {
    for client in clients where !client.kill() {
      Issue.record(
        "a client cannot be killed\n\(Proc.describe(client.pid))", sourceLocation: sourceLocation)
    }
    clients = []
    if process.status == nil { terminate(sourceLocation: sourceLocation) }
    forceDown()
    // Where all is emulated, the end takes as long as what is kept waiting elsewhere.
    if Deadline.slowness > 1 { expectedLogLines.append("the end of the mount is kept waiting") }
    let unexpected = log.split(separator: "\n").filter { line in
      !expectedLogLines.contains { $0.isEmpty || line.contains($0) }
    }
    if !unexpected.isEmpty {
      Issue.record(
        "unexpected lines of the daemon:\n\(unexpected.prefix(80).joined(separator: "\n"))",
        sourceLocation: sourceLocation)
    }
  }

  /// No daemon, no mount, whatever it takes.
  private func forceDown() {
    process.kill()
    for _ in 0..<4 where Mounts.contains(mountpoint) { unsafe mt_umount_detach(mountpoint) }
  }

  /// Records what the daemon is doing, once something has gone wrong.
  func reportState(sourceLocation: SourceLocation = #_sourceLocation) {
    var text = "the daemon's log:\n\(log)\nits threads:\n\(Proc.describe(pid))"
    if unsafe access("/usr/bin/gdb", X_OK) == 0, Proc.isAlive(pid) {
      let gdb = try? ChildProcess(
        "/usr/bin/gdb",
        ["-p", "\(pid)", "-batch", "-nx", "-ex", "set debuginfod enabled off"]
          + ["-ex", "thread apply all bt 20"])
      let backtraces = (try? gdb?.rest(within: 30_000)) ?? "(no backtrace)"
      for line in backtraces.split(separator: "\n")
      where line.hasPrefix("#") || line.hasPrefix("Thread") {
        text += line.prefix(200) + "\n"
      }
    }
    for client in clients { text += "client \(client.pid):\n\(Proc.describe(client.pid))" }
    Issue.record("state at the failure:\n\(text)", sourceLocation: sourceLocation)
  }
}

/// Runs `body` with a fresh mount, and leaves nothing behind whatever happens in it.
func withMount<Result>(
  _ arguments: [String] = ["--region", "demo"], through wrapper: [String] = [],
  sourceLocation: SourceLocation = #_sourceLocation, _ body: (MountedDaemon) throws -> Result
) throws -> Result {
  let directory = try TemporaryDirectory()
  let mountpoint = directory.path + "/mnt"
  guard unsafe mkdir(mountpoint, 0o755) == 0 else {
    throw HarnessError("mkdir \(mountpoint): errno \(errno)")
  }
  let mount = try MountedDaemon(
    arguments, at: mountpoint, in: directory, through: wrapper)
  defer { mount.clearAway(sourceLocation: sourceLocation) }
  do {
    return try body(mount)
  } catch {
    // Before everybody involved is killed.
    if error is HarnessError { mount.reportState(sourceLocation: sourceLocation) }
    throw error
  }
}

/// The same with a layout file of this text.
func withLayout<Result>(
  _ text: String, _ arguments: [String] = [], through wrapper: [String] = [],
  sourceLocation: SourceLocation = #_sourceLocation, _ body: (MountedDaemon) throws -> Result
) throws -> Result {
  let directory = try TemporaryDirectory()
  let layout = directory.path + "/layout.json5"
  try createFile(layout, text)
  return try withMount(
    ["--layout", layout] + arguments, through: wrapper, sourceLocation: sourceLocation, body)
}

/// Measures CPU time over a while in which nothing happens: here the time itself is what is
/// waited for.
func expectIdle(
  _ mount: MountedDaemon, milliseconds: Int, sourceLocation: SourceLocation = #_sourceLocation
) throws {
  // What came before may still be settling: releases run a moment later.
  var last = Proc.cpuTime(of: mount.pid)
  try eventually("the daemon is idle", within: 5000) {
    mt_sleep(50)
    defer { last = Proc.cpuTime(of: mount.pid) }
    return Proc.cpuTime(of: mount.pid) - last < 1
  }
  let before = Proc.cpuTime(of: mount.pid)
  mt_sleep(Int32(milliseconds))
  let spent = Proc.cpuTime(of: mount.pid) - before
  #expect(spent <= 10, "CPU ms of the idle daemon", sourceLocation: sourceLocation)
}
