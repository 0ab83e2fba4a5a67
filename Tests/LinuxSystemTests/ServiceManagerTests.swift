// SPDX-License-Identifier: Apache-2.0

import CLinux
import Testing

@Suite struct DatagramTests {
  @Test(
    "paths that are no socket",
    arguments: [
      "", "/nonexistent/socket", "@vsocfs-no-such-socket", String(repeating: "a", count: 108),
    ])
  func unreachable(path: String) {
    #expect(unsafe vsocfs_send_datagram(path, "READY=1", true) < 0)
  }
}
