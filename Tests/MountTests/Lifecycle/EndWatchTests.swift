// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// The end comes whatever its steps wait for.
  @Suite struct EndWatch {
    /// A disk that does not answer: an ext4 in a file, frozen (fsfreeze(8)).
    private final class FrozenDisk {
      let directory: TemporaryDirectory
      var path: String { directory.path + "/disk" }
      private var isFrozen = false

      init() throws {
        directory = try TemporaryDirectory()
        try run(
          """
          truncate -s 16M disk.img
          mkfs.ext4 -q disk.img
          mkdir disk
          mount -o loop disk.img disk
          """
        )
      }

      deinit { end() }

      func freeze() throws {
        try run("fsfreeze --freeze disk")
        isFrozen = true
      }

      func thaw() throws {
        try run("fsfreeze --unfreeze disk")
        isFrozen = false
      }

      private func end() {
        if isFrozen { try? thaw() }
        try? run("umount disk || umount --lazy disk")
      }

      private func run(_ script: String) throws {
        let shell = try ChildProcess("/bin/sh", ["-euc", "cd '\(directory.path)'; \(script)"])
        let output = try shell.rest()
        guard try shell.wait() == 0 else { throw HarnessError("\(script): \(output)") }
      }

      /// Whether such a disk can be had here.
      static let isPossible: Bool = (try? FrozenDisk()) != nil
    }

    @Test(.enabled(if: FrozenDisk.isPossible, "needs loop devices and mkfs.ext4"))
    func `a store on a disk that does not answer keeps nothing mounted`() throws {
      let disk = try FrozenDisk()
      try withMount(["--store", disk.path + "/store"]) { mount in
        mount.expectedLogLines = [
          "the end of the mount is kept waiting", "a thread waits for what",
        ]
        try disk.freeze()
        let client = try mount.client()
        try client.send("mkdir", mount("new"))
        try client.waitUntilBlocked()
        mount.process.signal(SIGTERM)
        try eventually("unmounted", within: 5000) { !Mounts.contains(mount.mountpoint) }
        // Who waited is told.
        #expect(try client.reply(within: 5000).hasPrefix("E"))
        // A thread of it is in the kernel still, for as long as the disk does not answer.
        try eventually("the process ends", within: 6000) {
          mount.log.contains("the process ends without it")
        }
        try disk.thaw()
        #expect(try mount.process.wait() == EXIT_FAILURE)
      }
    }
  }
}
