// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

/// How a mount under test has the memory of its regions. Each test of real mounts runs once in each
/// mode that the machine can do; VSOCFS_TEST_MODES names those that are wanted, if not all.
enum MountMode: String, CaseIterable, CustomStringConvertible {
  case passthrough
  case pageCache = "page-cache"

  /// That of the test that runs now.
  @TaskLocal static var current = MountMode.pageCache

  var description: String { rawValue }

  /// Options of the daemon.
  var arguments: [String] {
    switch self {
    case .passthrough: ["-o", "passthrough=on"]
    case .pageCache: ["-o", "passthrough=off"]
    }
  }

  static let available: [MountMode] = {
    let possible = allCases.filter { $0 == .pageCache || kernelHasPassthrough }
    guard let wanted = unsafe getenv("VSOCFS_TEST_MODES") else { return possible }
    let names = unsafe String(cString: wanted).split(separator: ",").map(String.init)
    return possible.filter { names.contains($0.rawValue) }
  }()

  private static let kernelHasPassthrough = kernelIsAtLeast(6, 9)

  /// Whether the daemon can wait for writeback without the lock of an inode, which a client can hold in
  /// page-cache mode: docs/security.md.
  static let writesBackWithoutLock = kernelIsAtLeast(6, 16)

  /// Whether splice(2) and its like read into the page cache; before they read as read(2) does, and wait.
  static let splicesByPageCache = kernelIsAtLeast(6, 5)

  private static func kernelIsAtLeast(_ major: Int, _ minor: Int) -> Bool {
    let release = contents(of: "/proc/sys/kernel/osrelease") ?? ""
    let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
    return numbers.count == 2 && (numbers[0], numbers[1]) >= (major, minor)
  }
}

/// Runs each test once in each mode.
struct EveryMode: SuiteTrait, TestTrait, TestScoping {
  var isRecursive: Bool { true }

  func provideScope(
    for test: Test, testCase: Test.Case?,
    performing function: @Sendable @concurrent () async throws -> Void
  ) async throws {
    guard testCase != nil else { return try await function() }
    for mode in MountMode.available {
      try await MountMode.$current.withValue(mode) { try await function() }
    }
  }
}

/// Runs tests in one mode only, where the others make no difference to them.
struct OnlyInMode: SuiteTrait, TestTrait, TestScoping {
  let mode: MountMode

  init(_ mode: MountMode) { self.mode = mode }

  var isRecursive: Bool { true }

  func provideScope(
    for test: Test, testCase: Test.Case?,
    performing function: @Sendable @concurrent () async throws -> Void
  ) async throws {
    if testCase == nil || MountMode.current == mode { try await function() }
  }
}
