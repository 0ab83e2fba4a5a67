// SPDX-License-Identifier: Apache-2.0

import Glibc
import TestSupport

/// What a script said, and how it ended.
struct ShellResult {
  var output: String
  var status: Int32

  /// The lines of its output.
  var lines: [String] { output.split(separator: "\n").map(String.init) }
}

/// Runs a script of bash in the source directory, with `$BUILD` for the directory of this build; it is
/// killed after two minutes. What a make around the tests was told does not reach it.
func shell(_ script: String, _ variables: [String: String] = [:]) throws -> ShellResult {
  var command = "cd \(quoted(Sources.directory)) && exec env -u MAKEFLAGS"
  for (name, value) in variables.merging(["BUILD": BuildDirectory.path], uniquingKeysWith: { $1 }) {
    command += " \(name)=\(quoted(value))"
  }
  command += " timeout --signal=KILL 120 bash -euo pipefail -c \(quoted(script)) 2>&1 < /dev/null"
  guard let stream = unsafe popen(command, "re") else { throw ShellFailure(errno: errno) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 65536)
  while true {
    let count = unsafe fread(&chunk, 1, chunk.count, stream)
    if count == 0 { break }
    bytes += chunk[..<count]
  }
  let status = unsafe pclose(stream)
  // The status as the shell that popen(3) runs has it.
  return ShellResult(output: String(decoding: bytes, as: UTF8.self), status: status >> 8)
}

struct ShellFailure: Error {
  var errno: Int32
}

func quoted(_ text: String) -> String {
  "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#)
    + "'"
}

/// Where the sources are.
enum Sources {
  static let directory: String = {
    // This file is Tests/InstallationTests/Shell.swift.
    "/" + "\(#filePath)".split(separator: "/").dropLast(3).joined(separator: "/")
  }()
}
