// SPDX-License-Identifier: Apache-2.0

import Testing

/// What a script said, and how it ended.
struct ScriptResult {
  var output: String
  var status: Int32

  /// The lines of its output.
  var lines: [String] { output.split(separator: "\n").map(String.init) }
}

extension MountedDaemon {
  /// Runs a script of sh with `$M` for the mountpoint.
  func shell(_ script: String, within milliseconds: Int = 20_000) throws -> ScriptResult {
    let process = try ChildProcess("/bin/sh", ["-c", script], environment: ["M": mountpoint])
    process.closeInput()
    let output = try process.rest(within: milliseconds)
    return ScriptResult(output: output, status: try process.wait())
  }

  /// Starts a script of sh that the test goes on with.
  func startShell(_ script: String) throws -> ChildProcess {
    try ChildProcess("/bin/sh", ["-c", script], environment: ["M": mountpoint])
  }

  /// Runs one of the Python programs in Scripts, which must end with status 0.
  func python(
    _ name: String, _ arguments: String..., within milliseconds: Int = 30_000,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let process = try startPython(name, arguments)
    process.closeInput()
    let output = try process.rest(within: milliseconds)
    #expect(try process.wait() == 0, "\(name): \(output)", sourceLocation: sourceLocation)
  }

  /// Starts one that the test goes on with.
  func startPython(_ name: String, _ arguments: [String]) throws -> ChildProcess {
    try ChildProcess(
      "/usr/bin/env",
      ["python3", "-X", "faulthandler", Programs.script(name), mountpoint] + arguments,
      environment: ["VSOCFS_TEST_SLOWNESS": "\(Deadline.slowness)"])
  }
}

/// A daemon that is not expected to mount: what it said and how it ended.
func runDaemon(_ arguments: [String], within milliseconds: Int = 20_000) throws -> ScriptResult {
  let process = try ChildProcess(Programs.daemon, arguments)
  process.closeInput()
  let output = try process.rest(within: milliseconds)
  return ScriptResult(output: output, status: try process.wait())
}
