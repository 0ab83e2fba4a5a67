// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  @Suite struct InstalledHeaders {
    /// As a user does it: installed, found, compiled, run.
    @Test(.enabled(if: isPossible, "g++ and pkg-config are not installed"))
    func `a program in C++ takes a tour of the ioctls`() throws {
      let world = try InstalledWorld()
      let mode = MountMode.current.arguments.joined(separator: " ")
      try world.run("vsocfs \(mode) --region frames:64K /mnt/vsoc")
      try world.run(
        """
        flags="-Wall -Wextra -Werror -pedantic $(pkg-config --cflags vsocfs)"
        g++ -std=c++17 $flags -o tour '\(Programs.sources)/Tests/Clients/headers/tour.cpp'
        """)
      #expect(
        try world.run("./tour /mnt/vsoc/frames/data /mnt/vsoc/frames/peer/data")
          == "frames 65536 1 1\n0 0 0\n1 0 1\n0 1 0 0 1\n")
      try world.unmount()
      try world.waitUntilEmpty()
    }

    private static let isPossible: Bool = {
      let search = try? ChildProcess(
        "/bin/sh", ["-c", "command -v g++ && command -v pkg-config"])
      return (try? search?.wait()) == 0
    }()
  }
}
