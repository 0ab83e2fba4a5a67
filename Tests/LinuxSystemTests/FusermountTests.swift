// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSystem
import Testing

/// What can be seen of it without mounting.
@Suite struct FusermountTests {
  @Test func `what it complains of is the text of the error, in one line`() {
    // Nothing that is mounted: root's fusermount3 would take it away.
    for path in ["/nonexistent", "/nonexistent/place", ""] {
      let error = #expect(throws: FusermountError.self) {
        try Fusermount.unmount(path, lazily: true)
      }
      #expect(error?.description.hasPrefix("fusermount3: ") == true)
      #expect(error?.description.contains("\n") == false)
    }
    let error = #expect(throws: FusermountError.self) {
      _ = try Fusermount.mount(at: "/nonexistent/place", options: ["subtype=none"])
    }
    #expect(error?.description.contains("/nonexistent/place") == true)
  }

  @Test func `a socket without a descriptor in it`() {
    var ends: [Int32] = [-1, -1]
    #expect(unsafe vsocfs_socket_pair(&ends) == 0)
    let (ours, theirs) = (ends[0], ends[1])
    defer { close(ours) }
    #expect(vsocfs_receive_descriptor(ours) == -ENODATA)
    var byte: UInt8 = 0
    #expect(unsafe write(theirs, &byte, 1) == 1)
    #expect(vsocfs_receive_descriptor(ours) == -ENODATA)
    close(theirs)
    #expect(vsocfs_receive_descriptor(ours) == -ENODATA)
    #expect(vsocfs_receive_descriptor(-1) == -EBADF)
  }
}
