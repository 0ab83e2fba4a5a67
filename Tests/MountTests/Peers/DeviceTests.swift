// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// The ivshmem-doorbell device of a real QEMU, whose guest is the test (Scripts/device.py).
  @Suite(.needsQEMU) struct Devices {
    @Test(arguments: PeerEnd.allCases, ["16K", "1M", "16M"])
    func `identify the device`(_ end: PeerEnd, _ size: String) throws {
      try withMount(["--region", "demo:\(size)"]) { mount in
        try mount.python("device.py", "identify", end.rawValue)
      }
    }

    @Test(arguments: PeerEnd.allCases)
    func `its memory is the region`(_ end: PeerEnd) throws {
      try withMount { mount in try mount.python("device.py", "memory", end.rawValue) }
    }

    @Test(arguments: PeerEnd.allCases)
    func `its register rings the mount`(_ end: PeerEnd) throws {
      try withMount { mount in try mount.python("device.py", "ring_mount", end.rawValue) }
    }

    @Test(arguments: PeerEnd.allCases)
    func `rings of the mount interrupt it`(_ end: PeerEnd) throws {
      try withMount { mount in try mount.python("device.py", "interrupts", end.rawValue) }
    }

    @Test func `two machines interrupt one another`() throws {
      try withMount { mount in try mount.python("device.py", "two_machines") }
    }

    @Test func `a machine that is killed leaves nothing`() throws {
      try withMount { mount in try mount.python("device.py", "killed") }
    }

    @Test func `all machines of an end are interrupted`() throws {
      try withMount { mount in try mount.python("device.py", "several") }
    }

    @Test(arguments: [("device_to_mount"), ("mount_to_device"), ("plain")])
    func `100,000 rings at full speed`(_ way: String) throws {
      try withMount { mount in
        try mount.python("rings.py", way, "100000", within: 120_000)
      }
    }

    /// It goes on without anybody to ring.
    @Test(arguments: [true, false])
    func `a machine outlives the daemon`(_ isKilled: Bool) throws {
      try withMount { mount in
        let machine = try mount.startPython("device.py", ["hold"])
        #expect(try machine.line() == "ready")
        if isKilled { mount.process.kill() } else { mount.terminate() }
        try machine.send(line: "")
        #expect(try machine.line(within: 20_000) == "closed")
        #expect(try machine.wait() == 0)
      }
    }

    /// QEMU cannot have it, says so, and ends: it neither hangs nor aborts.
    @Test func `a region that is no power of two`() throws {
      try withMount(["--region", "odd:12K", "--region", "large:1028K"]) { mount in
        mount.expectedLogLines = ["power of two"]
        try mount.python("device.py", "refused", "odd", "odd/peer", "large")
        #expect(mount.log.contains("12288 bytes"))
        #expect(mount.log.contains("truncate"))
      }
    }

    @Test func `a managed region`() throws {
      let layout = """
        { regions: [{ name: "manager", size: "64K" },
          { name: "managed", size: "64K", managed_by: "manager" }] }
        """
      try withLayout(layout) { mount in
        mount.expectedLogLines = ["managed"]
        try mount.python("device.py", "refused", "managed", "managed/peer")
        #expect(mount.log.contains("EPERM"))
      }
    }
  }
}
