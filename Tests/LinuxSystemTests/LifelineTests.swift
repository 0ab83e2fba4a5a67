// SPDX-License-Identifier: Apache-2.0

import CLinux
import CMountTesting
import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing

@Suite struct LifelineTests {
  @Test func `let go`() throws {
    let lifeline = try Lifeline()
    let line = try Line(lifeline)
    let waiter = try Waiter(line)
    #expect(line.isWaitedFor(), "nobody waits")
    lifeline.letGo()
    #expect(waiter.result == 0)
  }

  @Test func `dropped`() throws {
    let line: Line
    do {
      let lifeline = try Lifeline()
      line = try Line(lifeline)
    }
    #expect(try Waiter(line).result == 0)
  }

  @Test func `its process is killed while somebody waits`() throws {
    let line = try Line()
    let holder = try Holder(of: line)
    let waiter = try Waiter(line)
    #expect(line.isWaitedFor(), "nobody waits")
    holder.kill()
    #expect(waiter.result == -EOWNERDEAD)
  }

  @Test func `its process was killed before`() throws {
    let line = try Line()
    try Holder(of: line).kill()
    #expect(try Waiter(line).result == -EOWNERDEAD)
  }
}

/// The guard as the program, with a pipe for the file that aborts a connection.
@Suite struct ConnectionGuardTests {
  @Test func `does nothing when the daemon ends as it should`() throws {
    let lifeline = try Lifeline()
    let line = try Line(lifeline)
    let process = try GuardProcess(lifeline: line.descriptor)
    #expect(line.isWaitedFor(), "the guard does not wait")
    lifeline.letGo()
    #expect(process.rest() == "")
    #expect(process.exitStatus() == 0)
  }

  @Test func `aborts when the daemon is killed`() throws {
    let line = try Line()
    let holder = try Holder(of: line)
    let process = try GuardProcess(lifeline: line.descriptor)
    #expect(line.isWaitedFor(), "the guard does not wait")
    holder.kill()
    #expect(process.rest() == "1")
    #expect(process.exitStatus() == 0)
  }

  @Test func `aborts when the daemon was killed before`() throws {
    let line = try Line()
    try Holder(of: line).kill()
    let process = try GuardProcess(lifeline: line.descriptor)
    #expect(process.rest() == "1")
    #expect(process.exitStatus() == 0)
  }

  @Test func `outlives what ends a service`() throws {
    let line = try Line()
    let holder = try Holder(of: line)
    let process = try GuardProcess(lifeline: line.descriptor)
    #expect(line.isWaitedFor(), "the guard does not wait")
    for number in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] { kill(process.pid, number) }
    holder.kill()
    #expect(process.rest() == "1")
  }

  @Test func `needs a lifeline`() throws {
    let file = try FileDescriptor.open(FilePath("/dev/null"), .readOnly)
    defer { try? file.close() }
    let process = try GuardProcess(lifeline: file.rawValue)
    #expect(process.rest() == "")
    #expect(process.exitStatus() == 1)
  }

  @Test func `needs a mount`() {
    #expect(throws: Errno.noSuchFileOrDirectory) {
      _ = try ConnectionGuard(mountPoint: "/nonexistent")
    }
  }
}

// MARK: - What they use

private let deadline: Int32 = 10_000

/// The memory of a lifeline, as other processes have it.
private final class Line: Sendable {
  private let file: Descriptor
  let mapping: SharedMapping

  /// One that nobody holds yet.
  init() throws {
    let memory = try SharedMemoryFile(name: "lifeline", size: Int(VSOCFS_LIFELINE_SIZE))
    file = memory.takeDescriptor()
    mapping = try SharedMapping(descriptor: file.raw, size: Int(VSOCFS_LIFELINE_SIZE))
    unsafe vsocfs_lifeline_init(mapping.base)
  }

  /// The one of this process.
  init(_ lifeline: borrowing Lifeline) throws {
    file = Descriptor(owning: dup(lifeline.descriptor.raw))
    mapping = try SharedMapping(descriptor: file.raw, size: Int(VSOCFS_LIFELINE_SIZE))
  }

  var descriptor: Int32 { file.raw }

  /// Waits until somebody sleeps on the mutex, which the kernel's interface for robust ones says in
  /// the topmost bit of its word: false at the deadline.
  func isWaitedFor() -> Bool {
    let word = unsafe mapping.base.assumingMemoryBound(to: UInt32.self)
    let end = mt_milliseconds() + Int64(deadline)
    while mt_milliseconds() < end {
      if unsafe word.pointee & 0x8000_0000 != 0 { return true }
      mt_sleep(1)
    }
    return false
  }
}

/// A process that holds a lifeline until it is killed.
private final class Holder {
  private let pid: Int32

  init(of line: Line) throws {
    pid = unsafe mt_fork(vsocfs_lifeline_hold, line.mapping.base)
    try #require(pid > 0, "fork: errno \(-pid)")
  }

  func kill() {
    Glibc.kill(pid, SIGKILL)
    var status: Int32 = 0
    _ = unsafe mt_wait(pid, deadline, &status)
  }
}

/// A thread that waits for the end of a lifeline.
private final class Waiter {
  private let end = Monitor<Int32?>(nil)

  init(_ line: Line) throws {
    let end = self.end
    try LinuxSystem.Thread.start(name: "waiter") {
      let result = unsafe vsocfs_lifeline_wait(line.mapping.base)
      end.withLock { $0 = result }
    }
  }

  /// Nil at the deadline.
  var result: Int32? { end.wait(until: .after(seconds: 10)) { $0 } }
}

/// The program as a guard; killed if it does not end.
private final class GuardProcess {
  let pid: Int32
  private let reading: Descriptor
  private var hasEnded = false

  init(lifeline: Int32) throws {
    var ends: [Int32] = [-1, -1]
    try #require(unsafe mt_pipe(&ends) >= 0)
    reading = Descriptor(owning: ends[0])
    let writing = Descriptor(owning: ends[1])
    pid = try ConnectionGuard.spawn(
      BuildDirectory.path + "/vsocfs", mountPoint: "/nonexistent", device: 1, lifeline: lifeline,
      abort: writing.raw)
  }

  deinit {
    guard !hasEnded else { return }
    kill(pid, SIGKILL)
    _ = exitStatus()
  }

  /// What it writes until its end; nil at the deadline.
  func rest() -> String? {
    var text = ""
    while mt_readable(reading.raw, deadline) == 1 {
      var byte: UInt8 = 0
      guard unsafe read(reading.raw, &byte, 1) == 1 else { return text }
      text.unicodeScalars.append(Unicode.Scalar(byte))
    }
    return nil
  }

  func exitStatus() -> Int32? {
    var status: Int32 = 0
    guard unsafe mt_wait(pid, deadline, &status) == 1 else { return nil }
    hasEnded = true
    return mt_exit_status(status)
  }
}
