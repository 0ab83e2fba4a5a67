// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// What root's daemon may still do once it has mounted (capabilities(7)).
  @Suite struct Rights {
    static var usual: UInt64 {
      1 << 1 | 1 << 21 | (MountMode.current == .pageCache ? 1 << 14 : 0)
    }
    static var withManagedRegions: UInt64 { usual | 1 << 19 }

    /// Every thread of a process has just these, for good.
    private func expect(
      _ capabilities: UInt64, of process: Int32, sourceLocation: SourceLocation = #_sourceLocation
    ) {
      for thread in Proc.threads(of: process) {
        let status = "/proc/\(process)/task/\(thread)/status"
        func value(_ key: String) -> String? { Proc.value(of: key, in: status) }
        for set in ["CapPrm", "CapEff", "CapBnd"] {
          let found = value(set).flatMap { UInt64($0, radix: 16) }
          #expect(
            found == capabilities, "\(set) of \(value("Name") ?? "")",
            sourceLocation: sourceLocation)
        }
        #expect(
          value("CapInh").flatMap { UInt64($0, radix: 16) } == 0, sourceLocation: sourceLocation)
        #expect(value("NoNewPrivs") == "1", sourceLocation: sourceLocation)
      }
    }

    /// Has the daemon start a thread of each kind that can be had so.
    private func startThreads(_ mount: MountedDaemon, region: String) throws {
      let client = try mount.client()
      let fd = try client.open(mount(region + "/data"))
      #expect(try client("cond-wait", fd, "0x2000", "0", "2", "1", "0") == "ETIMEDOUT wakes=0")
      let waiting = try ChildProcess(
        "/usr/bin/env", ["python3", "-c", Self.connect, mount(region + "/ivshmem")])
      #expect(try waiting.line() == "connected")
      waiting.kill()
      try eventually("the machine is gone") { try mount.facts(region + "/info")["peers"] == "0" }
    }

    private static let connect = """
      import socket, sys
      s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(8)
      print("connected", flush=True); sys.stdin.read()
      """

    private func children(of daemon: Int32) -> [Int32] {
      names(in: "/proc").compactMap { Int32($0) }.filter { process in
        Proc.value(of: "PPid", in: "/proc/\(process)/status") == "\(daemon)"
      }
    }

    @Test func `a daemon of root's keeps few, and says why`() throws {
      try withMount { mount in
        try startThreads(mount, region: "demo")
        expect(Self.usual, of: mount.pid)
        let guards = children(of: mount.pid)
        #expect(guards.count == (mount.mode == .pageCache ? 1 : 0))
        for process in guards { expect(Self.usual, of: process) }
        let lines = mount.allOfLog.split(separator: "\n").filter { $0.contains("notice: keeps ") }
        #expect(lines.count == 1, "\(mount.allOfLog)")
        #expect(lines.first?.contains("CAP_SYS_ADMIN to ") == true)
        #expect(lines.first?.contains("CAP_DAC_OVERRIDE to ") == true)
        #expect(lines.first?.contains("CAP_IPC_LOCK to ") == (mount.mode == .pageCache))
        #expect(lines.first?.contains("CAP_SYS_PTRACE") == false)
      }
    }

    @Test func `with managed regions it may look at its callers as well`() throws {
      try withManaged { mount in
        try startThreads(mount, region: "manager")
        expect(Self.withManagedRegions, of: mount.pid)
        #expect(mount.allOfLog.contains("CAP_SYS_PTRACE to look at "))
      }
    }

    /// Rooms for requests, which must be there when memory is short: more than the limit.
    @Test(
      .disabled(if: Programs.areSanitized, "sanitizers make nothing of mlock(2)"),
      OnlyInMode(.pageCache))
    func `memory is kept in place`() throws {
      try withMount(through: ["prlimit", "--memlock=65536:65536"]) { mount in
        let locked = Proc.value(of: "VmLck", in: "/proc/\(mount.pid)/status")?.split(separator: " ")
        #expect(locked?.first.flatMap { Int($0) } ?? 0 > 1 << 10, "KiB")
      }
    }

    /// A service manager may have left less than the daemon would like to give up.
    @Test func `without CAP_SETPCAP the bounding set stays, and nothing comes of it`() throws {
      try withMount(through: ["setpriv", "--bounding-set=-setpcap,-net_admin"]) { mount in
        try startThreads(mount, region: "demo")
        for process in [mount.pid] + children(of: mount.pid) {
          let status = "/proc/\(process)/status"
          for set in ["CapPrm", "CapEff"] {
            #expect(Proc.value(of: set, in: status).flatMap { UInt64($0, radix: 16) } == Self.usual)
          }
          #expect(Proc.value(of: "NoNewPrivs", in: status) == "1")
        }
      }
    }

    /// Whatever the owners and modes are, which shut root out who has no right to override them.
    @Test func `regions of others are served`() throws {
      let layout = """
        { regions: [{ name: "private", uid: 65534, gid: 65534, mode: "0600" }] }
        """
      try withLayout(layout) { mount in
        let client = try mount.client()
        #expect(try client("setuid", "65534", "65534") == "0")
        let fd = try client.open(mount("private/data"))
        _ = try client("map", fd, "0x100000")
        #expect(try mount.shell("echo 0x2000 > $M/private/doorbell").status == 0)
        #expect(try mount.shell("cat $M/private/info").output.contains("incoming_posted 0"))
        let connecting = try ChildProcess(
          "/usr/bin/env", ["python3", "-c", Self.connect, mount("private/ivshmem")])
        #expect(try connecting.line() == "connected")
      }
    }
  }
}
