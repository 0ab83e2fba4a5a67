// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization
import TestSupport
import Testing

/// The programs that the tests run.
enum Programs {
  /// Where the sources are, and the programs of this build.
  static var sources: String { sourceDirectory }
  static var directory: String { BuildDirectory.path }

  private static let sourceDirectory: String = {
    // This file is Tests/MountTests/Support/Programs.swift.
    "/" + "\(#filePath)".split(separator: "/").dropLast(4).joined(separator: "/")
  }()

  static var daemon: String { BuildDirectory.path + "/vsocfs" }
  static var client: String { BuildDirectory.path + "/vsoc-client" }
  static var attacker: String { BuildDirectory.path + "/vsoc-attacker" }
  static var slowPages: String { BuildDirectory.path + "/slow-pages" }

  /// Whether this build is one for a sanitizer.
  static var areSanitized: Bool {
    unsafe dlsym(nil, "__tsan_init") != nil || dlsym(nil, "__asan_init") != nil
  }

  static func script(_ name: String) -> String {
    sourceDirectory + "/Tests/MountTests/Scripts/" + name
  }

  /// The C client compiled for the 32-bit ABI, once in a run.
  static func client32() throws -> String {
    try compiled32.withLock { path in
      if let path { return path }
      let result = BuildDirectory.path + "/vsoc-client32"
      let sources = sourceDirectory + "/Tests/Clients/vsoc-client"
      let compiler = try ChildProcess(
        "/usr/bin/env",
        ["gcc", "-m32", "-std=gnu17", "-O1", "-D_FILE_OFFSET_BITS=64"]
          + ["-I", sourceDirectory + "/Sources/CVsocABI/include", "-o", result, "-pthread"]
          + names(in: sources).filter { $0.hasSuffix(".c") }.map { sources + "/" + $0 })
      let output = try compiler.rest(within: 60_000)
      guard try compiler.wait() == 0 else {
        throw HarnessError(
          "the 32-bit client does not compile (is gcc-multilib installed?):\n\(output)")
      }
      path = result
      return result
    }
  }
  private static let compiled32 = Mutex<String?>(nil)

  /// Whether there is a compiler for 32 bits, with what its programs need.
  static let compiles32: Bool = {
    guard let directory = try? TemporaryDirectory() else { return false }
    return (try? compiledHAL(["-m32"], in: directory)) != nil
  }()

  /// The program in Tests/Clients/legacy-hal, compiled with nothing but the original header.
  static func compiledHAL(_ flags: [String], in directory: TemporaryDirectory) throws -> String {
    let result = directory.path + "/hal"
    let compiler = try ChildProcess(
      "/usr/bin/env",
      ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror"] + flags
        + ["-I", sourceDirectory + "/Sources/CVsocABI/include", "-o", result]
        + [sourceDirectory + "/Tests/Clients/legacy-hal/hal.c"])
    let output = try compiler.rest(within: 60_000)
    guard try compiler.wait() == 0 else { throw HarnessError("hal.c: \(output)") }
    return result
  }

  static func example(_ name: String) -> String { sourceDirectory + "/docs/examples/" + name }

  /// One of the examples in C, compiled as its comment says, into `directory`.
  static func compiledExample(_ name: String, in directory: TemporaryDirectory) throws -> String {
    let result = directory.path + "/" + name
    let compiler = try ChildProcess(
      "/usr/bin/env",
      ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror"]
        + ["-I", sourceDirectory + "/Sources/CVsocABI/include", "-o", result]
        + [example(name + ".c")])
    let output = try compiler.rest(within: 60_000)
    guard try compiler.wait() == 0 else { throw HarnessError("\(name).c: \(output)") }
    return result
  }

  /// Nil if real mounts can be made here, otherwise the reason why not.
  static var obstacle: String? {
    if geteuid() != 0 { return "the mount tests must run as root" }
    if unsafe access("/dev/fuse", R_OK | W_OK) != 0 {
      return "the mount tests need /dev/fuse (errno \(errno))"
    }
    for program in [daemon, client, attacker, slowPages] where unsafe access(program, X_OK) != 0 {
      return "the mount tests need \(program), which is not there"
    }
    return nil
  }
}

/// Fails the whole suite with one message where real mounts cannot be made.
struct NeedsMounts: SuiteTrait, TestScoping {
  func provideScope(
    for test: Test, testCase: Test.Case?,
    performing function: @Sendable @concurrent () async throws -> Void
  ) async throws {
    if let obstacle = Programs.obstacle { throw HarnessError(obstacle) }
    try await function()
  }
}

/// Everything that mounts. One after the other: deadlines and CPU times mean something then.
@Suite(
  .serialized, NeedsMounts(), EveryMode(),
  .compactMapIssues { issue in
    var issue = issue
    let mode: Comment = "in \(MountMode.current) mode"
    if !issue.comments.contains(mode) { issue.comments.append(mode) }
    return issue
  }) enum MountTests
{}
