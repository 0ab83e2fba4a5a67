// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// What the daemon may do, what its callers may, and what of permissions works then.
  @Suite struct AreaRights {
    /// A caller names a descriptor of its own, which a daemon without this right cannot look at.
    @Test func `without CAP_SYS_PTRACE only naming a descriptor fails`() throws {
      try withManaged(through: ["setpriv", "--bounding-set=-sys_ptrace"]) { mount in
        mount.expectedLogLines = ["CAP_SYS_PTRACE"]
        let client = try mount.client()
        let fd = try client.open(mount("buffers/data"))
        // Told once.
        for way in [Way.manager, .manager, .managerSized, .named] {
          let asked = try client.openAsked(mount, way)
          #expect(try client.claim(Claim(), way, for: fd, through: asked) == "EPERM", "\(way)")
        }
        let lines = mount.log.split(separator: "\n").filter { $0.contains("CAP_SYS_PTRACE") }
        #expect(lines.count == 1, "\(mount.log)")
        #expect(try client("permission", fd) == "ENOENT")
        #expect(try mount.table() == [])
        for (way, file) in [(Way.ownSized, "data"), (.own, "data"), (.text, "permissions")] {
          let fd = try client.open(mount("buffers/" + file))
          #expect(try client.claim(Claim(), way, for: fd) == "0", "\(way)")
          try mount.expectHeld(by: client.pid)
          if way != .text || mount.mode == .passthrough {
            let memory = try client("map", fd, "0x4000")
            #expect(try client("touch-all", memory, "0x4000", "write", "1") == "4w")
            #expect(try client("unmap", memory) == "0")
          }
          #expect(try client("permission", fd) == Claim().shown)
          #expect(try client("release", "ioctl", fd) == "0")
        }
      }
    }

    /// Who may open a region may claim in it; the manager's modes are not asked where the claim does
    /// not go through it.
    @Test func `modes decide who may claim`() throws {
      try withManaged { mount in
        let (root, other) = try (mount.client(), mount.client())
        #expect(try other("setuid", "65534", "65534") == "0")
        for file in ["data", "permissions"] {
          #expect(try other("open", mount("buffers/" + file)) == "EACCES")
        }
        #expect(try root("chmod", mount("buffers"), "0777") == "0")
        let fd = try other.open(mount("buffers/data"))
        #expect(try other("open", mount("manager/data")) == "EACCES")
        #expect(try other.claim(Claim(), for: fd) == "0")
        try mount.expectHeld(by: other.pid)
        #expect(try other("release", "ioctl", fd) == "0")
        let table = try other.open(mount("buffers/permissions"))
        #expect(try other.claim(Claim(), .text, for: table) == "0")
        #expect(try other("close", table) == "0")
        try mount.waitUntilFree()
        #expect(try root("chmod", mount("manager"), "0777") == "0")
        let manager = try other.open(mount("manager/data"))
        for way in [Way.manager, .managerSized] {
          #expect(try other.claim(Claim(), way, for: fd, through: manager) == "0")
          #expect(try other("release", "ioctl", fd) == "0")
        }
        #expect(try root("chmod", mount("buffers"), "0755") == "0")
        let reader = try other.open(mount("buffers/data"), "r")
        #expect(try other.claim(Claim(), for: reader) == "EBADF")
        #expect(try other("open", mount("buffers/data"), "rw") == "EACCES")
      }
    }

    @Test(OnlyInMode(.pageCache))
    func `an ordinary user's mount has permissions`() throws {
      let user = try TestUser()
      let layout = user.directory.path + "/layout.json5"
      try createFile(layout, Managed.layout)
      let daemon = try user.mount(["--layout", layout])
      let mount = { (file: String) in user.mountpoint + "/" + file }
      let (one, two) = try (user.client(), user.client())
      for (way, file) in [(Way.ownSized, "data"), (.own, "peer/data"), (.text, "permissions")] {
        let fd = try one.open(mount("buffers/" + file))
        #expect(try one.claim(Claim(), way, for: fd) == "0")
        #expect(try one("permission", fd) == Claim().shown)
        let fresh = try two.open(mount("buffers/data"))
        #expect(try two.claim(Claim(value: 8), for: fresh) == "EAGAIN")
        let table = try user.shell("cat $M/buffers/permissions").output
        #expect(table == Claim().shown + " \(one.pid) vsoc-client\n")
        if way != .text {
          let memory = try one("map", fd, "0x40000")
          #expect(try one("touch-all", memory, "0x40000", "write", "0x42") == "4w 60b")
          #expect(try one("unmap", memory) == "0")
        }
        #expect(try one("close", fd) == "0")
        #expect(try two.claimWhenFree(Claim(value: 8), for: fresh) < 10_000)
        #expect(try two("differ", fresh, "0x42") == "16384 0")
        #expect(try two("release", "ioctl", fresh) == "0")
        #expect(try two("close", fresh) == "0")
      }
      try one.finish()
      try two.finish()
      try user.unmount(daemon)
    }
  }
}
