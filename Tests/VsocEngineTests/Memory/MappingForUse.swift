// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import VsocProtocol

@testable import VsocEngine

/// A mapping that there is only while the region is in use. It maps the file itself, and waits or
/// fails as the test says.
final class MappingForUse: RegionMapping {
  private struct State {
    var count = 0
    var waiting = 0
    var isBlocked = false
    /// So many may go on although it is.
    var permits = 0
    var error: Errno?
  }

  private let state = Monitor(State())

  var isForUseOnly: Bool { true }

  func map(
    _ file: RegionFile, of region: UInt32, _ geometry: RegionGeometry
  ) throws(Errno) -> SharedMapping {
    let error: Errno? = state.withLock { state in
      state.waiting += 1
      return state.error
    }
    let isReleased = state.wait(until: .after(seconds: 3 * Fixture.seconds)) { state -> Bool? in
      if !state.isBlocked { return true }
      guard state.permits > 0 else { return nil }
      state.permits -= 1
      return true
    }
    state.withLock { state in
      state.waiting -= 1
      if error == nil { state.count += 1 }
    }
    if let error { throw error }
    guard isReleased == true else { throw .timedOut }
    return try SharedMapping(descriptor: file.descriptor.raw, size: Int(geometry.size))
  }

  /// How often something was mapped.
  var count: Int { state.withLock { $0.count } }

  /// Those who map wait from now on, or no longer.
  func setBlocked(_ isBlocked: Bool) { state.withLock { $0.isBlocked = isBlocked } }

  /// Lets one of them go on.
  func releaseOne() { state.withLock { $0.permits += 1 } }

  func fail(with error: Errno?) { state.withLock { $0.error = error } }

  /// Waits until so many wait.
  func waitForWaiting(_ count: Int) throws {
    let found = state.wait(until: .after(seconds: Fixture.seconds)) { state in
      state.waiting >= count ? true : nil
    }
    if found == nil { throw Errno.timedOut }
  }
}

/// A call in a thread of its own, which may wait.
final class Call: Sendable {
  private let outcome = Monitor(Result<Void, any Error>?.none)

  init(_ body: @escaping @Sendable () throws -> Void) throws {
    try Thread.start(name: "call") { [outcome] in
      let result = Result { try body() }
      outcome.withLock { $0 = result }
    }
  }

  var isWaiting: Bool { outcome.withLock { $0 == nil } }

  /// Waits for its end, and throws what it threw.
  func wait() throws {
    let result = outcome.wait(until: .after(seconds: Fixture.seconds)) { $0 }
    guard let result else { throw Errno.timedOut }
    try result.get()
  }
}

/// A thread that has the state of a region and does not go on, as if it waited for a page.
final class StateHold: Sendable {
  private let stage = Monitor((isHeld: false, isOver: false))

  /// Returns when it has it.
  init(_ region: Region) throws {
    try Thread.start(name: "holder") { [stage] in
      region.state.withLock { _ in
        stage.withLock { $0.isHeld = true }
        _ = stage.wait(until: .after(seconds: 3 * Fixture.seconds)) { $0.isOver ? true : nil }
      }
    }
    let isHeld = stage.wait(until: .after(seconds: Fixture.seconds)) { $0.isHeld ? true : nil }
    if isHeld == nil { throw Errno.timedOut }
  }

  func end() { stage.withLock { $0.isOver = true } }
}

extension Region {
  /// How often this process has the region's memory mapped, as the kernel knows it.
  var mappingsInProcess: Int {
    get throws {
      let file = try FileDescriptor.open(
        FilePath("/proc/self/maps"), .readOnly, options: .closeOnExec)
      let maps = try Descriptor(owning: file.rawValue).readToEnd()
      return maps.split(separator: "\n").filter { $0.contains("/memfd:vsocfs:\(name) ") }.count
    }
  }
}
