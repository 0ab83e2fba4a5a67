// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSystem
import SystemPackage

/// Another process that has the lock of a store, until it is killed.
final class LockHolder {
  /// Taken while one is started: until its program runs, it has copies of all descriptors of this
  /// process, and with them the locks of stores that other tests have just closed.
  static let starting = Lock(())

  let pid: Int32
  private var isReaped = false

  /// Returns when the process has the lock, and has written its number as a daemon does.
  init(of scratch: Scratch) throws {
    var ends: [Int32] = [0, 0]
    try check { unsafe vsocfs_pipe(&ends) }
    let output = Descriptor(owning: ends[0])
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    let arguments = [
      "flock", "--no-fork", scratch.store + "/lock", "sh", "-c", "echo $$; exec sleep 600 >&-",
    ]
    var argv = unsafe arguments.map { unsafe strdup($0) }
    unsafe argv.append(nil)
    var child: pid_t = 0
    var line: [UInt8] = []
    let error = Self.starting.withLock { _ in
      let error = unsafe posix_spawnp(&child, "flock", &actions, nil, argv, environ)
      close(ends[1])
      // Until the end: the process closes its output when it has the lock.
      var byte: UInt8 = 0
      while error == 0, unsafe read(output.raw, &byte, 1) == 1 { line.append(byte) }
      return error
    }
    unsafe posix_spawn_file_actions_destroy(&actions)
    for index in unsafe argv.indices { unsafe free(argv[index]) }
    guard error == 0 else { throw Errno(rawValue: error) }
    pid = child
    guard String(decoding: line, as: UTF8.self) == "\(pid)\n" else { throw Errno.noSuchProcess }
    try scratch.change("lock") { file throws(Errno) in
      try file.truncate(to: 0)
      try file.write(line, at: 0)
    }
  }

  deinit { kill() }

  func kill() {
    guard !isReaped else { return }
    isReaped = true
    _ = Glibc.kill(pid, SIGKILL)
    _ = waitpid(pid, nil, 0)
  }
}
