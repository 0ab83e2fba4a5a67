// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What `make install` puts into a directory, which is removed at the end.
final class Installation {
  /// Its DESTDIR; with a space in its name.
  let root: String
  private let variables: String

  init(_ variables: String = "") throws {
    self.variables = variables
    root = try shell("mktemp -d '/tmp/vsocfs test.XXXXXX'").lines[0]
    try run("install")
  }

  deinit {
    _ = try? shell("rm -rf \"$DESTDIR\"", ["DESTDIR": root])
  }

  /// Runs make as a user does, but with the executable of this build. What it generates must be gone
  /// at its end.
  func run(_ target: String) throws {
    let result = try shell(
      """
      make --no-print-directory \(target) BIN="$BUILD" \(variables) &
      wait $!
      test ! -e .build/install-$! || echo "something is left"
      """, ["DESTDIR": root])
    guard result.status == 0, result.output.isEmpty else { throw MakeFailure(result: result) }
  }

  /// The files, as `mode path`, in the order of their paths.
  var files: [String] {
    get throws {
      try shell(
        "cd \"$DESTDIR\"; find . ! -type d -printf '%m %P\\n' | LC_ALL=C sort -k 2",
        ["DESTDIR": root]
      ).lines
    }
  }
}

struct MakeFailure: Error {
  var result: ShellResult
}
