// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension Trait where Self == ConditionTrait {
  /// Tests with a real QEMU. Inside a virtual machine one more is too slow to test anything.
  static var needsQEMU: Self {
    .enabled(if: Programs.hasQEMU, "needs qemu-system-x86_64, outside a virtual machine")
  }
}

extension Programs {
  static var hasQEMU: Bool {
    unsafe access("/usr/bin/qemu-system-x86_64", X_OK) == 0 && Deadline.slowness == 1
  }
}

/// An end of a region, as the Python programs name it.
enum PeerEnd: String, CaseIterable, CustomTestStringConvertible {
  case guest, host

  var testDescription: String { rawValue }
}

/// Runs `body` with a fresh mount and its host socket, whose path it gets too. The socket must be gone
/// at the end.
func withHostSocket<Result>(
  _ arguments: [String] = ["--region", "demo"], sourceLocation: SourceLocation = #_sourceLocation,
  _ body: (MountedDaemon, String) throws -> Result
) throws -> Result {
  let directory = try TemporaryDirectory()
  let path = directory.path + "/socket"
  let result = try withMount(
    arguments + ["--host-socket", path], sourceLocation: sourceLocation
  ) { mount in try body(mount, path) }
  #expect(!exists(path), "the host socket is left", sourceLocation: sourceLocation)
  return result
}

extension MountedDaemon {
  /// Peers of each kind in `demo`, two of them at one end, which hold their parts.
  func startPeers(hostSocket path: String) throws -> [ChildProcess] {
    let peers = try [
      startPython("machines.py", ["hold", "guest"]),
      startPython("machines.py", ["hold", "guest"]),
      startPython("machines.py", ["hold", "host"]),
      startPython("host_clients.py", ["hold", path]),
    ]
    for peer in peers { #expect(try peer.line() == "ready") }
    return peers
  }
}

/// Whether there is anything with this name.
func exists(_ path: String) -> Bool {
  unsafe access(path, F_OK) == 0
}
