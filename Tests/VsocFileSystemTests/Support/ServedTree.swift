// SPDX-License-Identifier: Apache-2.0

import DaemonLog
import Glibc
import LinuxSystem
import Logging
import SystemPackage
import TestSupport
import Testing
import VsocConfiguration
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// A daemon without a mount: all of it, with the test in the place of the kernel.
final class ServedTree: Sendable {
  /// For what has to happen sooner or later: no test waits for longer.
  static let patience = 30.0

  let server: Server
  let wire: FuseWire
  private let stop: StopEvent
  private let hasEnded = Monitor(false)

  private final class StopEvent: Sendable {
    let event: EventDescriptor

    init() throws { event = try EventDescriptor() }
  }

  /// Serves, without having answered INIT; in page-cache mode it has.
  init(
    _ configuration: MountConfiguration, pageCache: OwnMapping? = nil,
    looking: any Looking = ImmediateLooks()
  ) throws {
    server = try Server(
      configuration, log: DaemonLog(.standardError, level: .warning),
      looking: looking)
    wire = try FuseWire()
    let stop = try StopEvent()
    self.stop = stop
    if pageCache != nil {
      let wire = wire
      try Thread.start(name: "kernel") { _ = try? wire.initialize() }
    }
    try server.attach(wire.takeDaemonEnd(), pageCache: pageCache)
    // As the program does, in a thread with all signals blocked.
    try Thread.start(name: "main") { [server, hasEnded] in
      server.run(until: stop.event.descriptor)
      server.end()
      hasEnded.withLock { $0 = true }
    }
  }

  /// What SIGTERM does; returns when the daemon has done with it.
  func terminate() {
    stop.event.signal()
    waitForEnd()
  }

  func waitForEnd() {
    let end = hasEnded.wait(until: .after(seconds: Self.patience)) { $0 ? true : nil }
    if end == nil { Issue.record("the daemon does not end") }
  }

  // MARK: Looking inside

  /// The region as the engine has it, to look at what no reply tells.
  func region(_ name: String = "r") throws -> Region {
    guard let name = RegionName(name), let region = server.engine.region(named: name) else {
      throw TestFailure("no region \(name)")
    }
    return region
  }

  /// The memory, as a client that has it mapped.
  func window(_ name: String = "r") throws -> RegionWindow {
    try region(name).sealedMemory().window
  }

  /// Waits until this many calls are parked.
  func waitForParked(_ count: Int) throws {
    try waitFor("\(count) parked calls") { server.engine.parking.count == count }
  }

  /// The values of an `info` file, or of `.vsocfs/stats`.
  func values(of path: String) throws -> [String: String] {
    let file = try wire.open(path: path, flags: O_RDONLY)
    defer { try? wire.release(file) }
    var values: [String: String] = [:]
    for line in try wire.readText(file, size: 1 << 16).split(separator: "\n") {
      let parts = line.split(separator: " ", maxSplits: 1)
      values[String(parts[0])] = String(parts[1])
    }
    return values
  }
}

/// Runs a test against a daemon, and then looks whether each request got its one reply.
///
/// - Parameter pageCache: for page-cache mode.
func withTree<Result>(
  _ regions: [RegionConfiguration]? = nil, options: [String] = [], pageCache: OwnMapping? = nil,
  looking: any Looking = ImmediateLooks(), _ body: (ServedTree) throws -> Result
) throws -> Result {
  var configuration = try MountConfiguration(
    MountRequest(mountpoint: "/", options: options), uid: 0, gid: 0)
  configuration.regions = try regions ?? [region("r")]
  let tree = try ServedTree(configuration, pageCache: pageCache, looking: looking)
  defer {
    tree.wire.close()
    tree.waitForEnd()
  }
  if pageCache == nil { _ = try tree.wire.initialize() }
  let result = try body(tree)
  #expect(tree.wire.violations == [])
  #expect(tree.wire.outstandingCount == 0, "requests without a reply")
  return result
}

func region(
  _ name: String, size: UInt64 = 1 << 20, slotsLg2: UInt32 = RegionGeometry.defaultNodesLg2,
  managedBy manager: String? = nil
) throws -> RegionConfiguration {
  let access = EndAccess(uid: 0, gid: 0, mode: 0o660)
  var configuration = RegionConfiguration(
    name: RegionName(name)!,
    geometry: try RegionGeometry(
      size: size, guestToHostNodesLg2: slotsLg2, hostToGuestNodesLg2: slotsLg2),
    guest: access, host: access)
  configuration.managedBy = manager.map { RegionName($0)! }
  return configuration
}

/// Waits for what no event tells of.
func waitFor(_ what: String, _ condition: () throws -> Bool) throws {
  let deadline = MonotonicInstant.after(seconds: ServedTree.patience)
  while try !condition() {
    guard MonotonicInstant.now < deadline else { throw TestFailure("no \(what)") }
    usleep(500)
  }
}

/// What a test found wrong where it cannot say `#expect`: in a thread of its own.
struct TestFailure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// Runs them in a thread each, and throws what the first one threw.
func concurrently(_ bodies: [@Sendable () throws -> Void]) throws {
  let outcome = Monitor((running: bodies.count, error: (any Error)?.none))
  for body in bodies {
    try Thread.start(name: "client") {
      let result = Result { try body() }
      outcome.withLock { outcome in
        outcome.running -= 1
        if case .failure(let error) = result, outcome.error == nil { outcome.error = error }
      }
    }
  }
  let error = outcome.wait(until: .after(seconds: 4 * ServedTree.patience)) { outcome in
    outcome.running == 0 ? .some(outcome.error) : nil
  }
  guard let error else { throw TestFailure("a thread does not end") }
  if let error { throw error }
}
