// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// Programs that come by the host socket (Scripts/host_clients.py).
  @Suite struct HostClients {
    @Test func `rings and memory, both ways`() throws {
      try withHostSocket { mount, path in try mount.python("host_clients.py", "talk", path) }
    }

    @Test func `beside others, and with machines`() throws {
      try withHostSocket { mount, path in try mount.python("host_clients.py", "together", path) }
    }

    @Test func `lengths and names that are none`() throws {
      try withHostSocket { mount, path in
        mount.expectedLogLines = ["a host client names"]
        try mount.python("host_clients.py", "lengths", path)
        for length in ["-1 ", "-32768 ", "0 ", "17 ", "32767 "] {
          #expect(mount.log.contains(length), "\(length)")
        }
        #expect(mount.log.contains("\"other\""))
        // A name cannot make up lines of its own.
        #expect(!mount.log.contains("\0"))
      }
    }

    @Test func `a flood of mistakes does not flood the log`() throws {
      try withHostSocket { mount, path in
        mount.expectedLogLines = ["a host client names"]
        try mount.python("host_clients.py", "flood", path, "500")
        let lines = mount.log.split(separator: "\n")
        #expect((20...25).contains(lines.count), "\(mount.log)")
        #expect(lines.dropFirst(19).first?.hasSuffix("will be left out for a while)") == true)
      }
    }

    @Test func `the longest name`() throws {
      try withHostSocket { mount, path in try mount.python("host_clients.py", "longest", path) }
    }

    @Test func `any size will do`() throws {
      try withHostSocket(["--region", "odd:12K"]) { mount, path in
        try mount.python("host_clients.py", "sizes", path)
      }
    }

    @Test func `a managed region is not given away`() throws {
      let layout = """
        { regions: [{ name: "manager", size: "64K" },
          { name: "managed", size: "64K", managed_by: "manager" }] }
        """
      try withDirectory { directory in
        let path = directory.path + "/socket"
        try withLayout(layout, ["--host-socket", path]) { mount in
          mount.expectedLogLines = ["\"managed\""]
          try mount.python("host_clients.py", "managed", path)
          #expect(mount.log.contains("not permitted"))
        }
      }
    }

    @Test func `byte by byte, and half of it`() throws {
      try withHostSocket { mount, path in try mount.python("host_clients.py", "slow", path) }
    }

    @Test func `one that says more than a name`() throws {
      try withHostSocket { mount, path in try mount.python("host_clients.py", "talkative", path) }
    }

    @Test func `a thousand at once`() throws {
      try withHostSocket { mount, path in
        try mount.python(
          "host_clients.py", "crowd", path, "\(mount.pid)", "1000", within: 60_000)
        try expectIdle(mount, milliseconds: 200)
      }
    }

    @Test func `a client keeps its region`() throws {
      try withHostSocket { mount, path in
        mount.expectedLogLines = ["\"demo\", which there is not"]
        try mount.python("host_clients.py", "busy", path)
      }
    }

    @Test func `the socket is the owner's alone`() throws {
      try withHostSocket { mount, path in
        try mount.python("host_clients.py", "socket_file", path)
        // Unless he says otherwise. It is removed at the end all the same.
        #expect(try mount.shell("chmod 666 \(path) && stat -c %a \(path)").lines == ["666"])
      }
    }
  }
}
