// SPDX-License-Identifier: Apache-2.0

internal import CVsocBench
internal import Glibc

/// Rings between the mount and those outside of it, against the same over eventfds of nobody's.
func peerRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let bench = bench.often
  var hosts: [PeerHost] = []
  defer { for host in hosts { host.stop() } }
  for mode in bench.modes where mode != .store { hosts.append(try PeerHost(bench, mode)) }
  let device = Subject(
    "peer-qemu", "from QEMU's doorbell register to a reader of doorbell", daemonIn: .all)
  let vm = Subject("peer-vm", "ping-pong of doorbell and a VM's eventfds", daemonIn: .all)
  let hostClient = Subject(
    "peer-host-client", "from a host client's ring to a reader of doorbell", daemonIn: .all)
  var rows: [Row] = []
  if let qemu = Qemu.find() {
    rows = try bench.compare(
      device, on: hosts,
      { (host) throws(BenchError) in try host.ringsOfDevice(of: qemu) },
      to: "eventfd", { () throws(BenchError) in try bench.eventfdRings(of: qemu) })
  } else {
    var row = Row(device, nil)
    row.notes.append("left out: \(Qemu.program) is not installed")
    rows.append(row)
  }
  rows += try bench.compare(
    vm, on: hosts, { (host) throws(BenchError) in try host.pingPongWithMachine() },
    to: "eventfd", { () throws(BenchError) in try bench.eventfdPingPong(by: "poll") })
  rows += try bench.compare(
    hostClient, on: hosts, { (host) throws(BenchError) in try host.ringsOfHostClient() },
    to: "eventfd", { () throws(BenchError) in try bench.eventfdRings() })
  return rows
}

/// QEMU without a guest, whose device is driven by qtest (qemu.c).
private struct Qemu {
  static let program = "qemu-system-x86_64"
  let path: String

  static func find() -> Qemu? {
    let directories = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? "/usr/bin"
    for directory in directories.split(separator: ":") {
      let path = "\(directory)/\(program)"
      if unsafe access(path, X_OK) == 0 { return Qemu(path: path) }
    }
    return nil
  }

  /// Rings with the device's register, and listens at `target`. Each time it is another QEMU.
  ///
  /// - Parameter bell: the eventfd that a server of the benchmark's own gives to the device; none where
  ///   the socket is that of a mount.
  func rings(
    _ bench: Bench, ivshmem: String, bell: Int32? = nil, listening target: String
  ) throws(BenchError) -> Samples {
    let (samples, qtest) = ("\(bench.count(300))", bench.workplace.newPath("qtest"))
    defer { unsafe unlink(qtest) }
    return try bench.run(
      [
        Client(
          "ring-qemu", cpu: 0, path, qtest, ivshmem, bell == nil ? "mount" : firstHandedOver,
          samples),
        Client("listen", cpu: 1, target, samples),
      ], handing: bell.map { [$0] } ?? []
    ).samples()
  }
}

/// A daemon, and the socket at which host clients find it.
private final class PeerHost {
  let daemon: Daemon
  private let bench: Bench
  private let socket: String

  init(_ bench: Bench, _ mode: Mode) throws(BenchError) {
    self.bench = bench
    socket = bench.workplace.newPath("host")
    daemon = try bench.startDaemon(mode, options: ["--region", "bench", "--host-socket", socket])
  }

  func stop() {
    daemon.stop()
    // It is the daemon that removes it, unless it was killed.
    unsafe unlink(socket)
  }

  /// The host end rings, and a machine at the guest end rings back.
  func pingPongWithMachine() throws(BenchError) -> Samples {
    let (trips, doorbell) = ("\(bench.count(300))", daemon.path("bench/peer/doorbell"))
    return try bench.run(
      Client("ring", cpu: 0, doorbell, doorbell, "0", "poll", "bare", trips),
      Client("vm", cpu: 1, daemon.path("bench/ivshmem"), trips)
    ).samples()
  }

  func ringsOfDevice(of qemu: Qemu) throws(BenchError) -> Samples {
    try qemu.rings(
      bench, ivshmem: daemon.path("bench/ivshmem"), listening: daemon.path("bench/peer/doorbell"))
  }

  func ringsOfHostClient() throws(BenchError) -> Samples {
    let samples = "\(bench.count(300))"
    return try bench.run(
      Client("ring-host", cpu: 0, socket, "bench", samples),
      Client("listen", cpu: 1, daemon.path("bench/doorbell"), samples)
    ).samples()
  }
}

extension Bench {
  /// A row for each daemon, against one baseline.
  fileprivate func compare(
    _ subject: Subject, on hosts: [PeerHost], _ measure: (PeerHost) throws(BenchError) -> Samples,
    to baseline: String, _ measureBaseline: () throws(BenchError) -> Samples
  ) throws(BenchError) -> [Row] {
    let sides = try interleave(hosts.count + 1) { (side) throws(BenchError) in
      side < hosts.count ? try measure(hosts[side]) : try measureBaseline()
    }
    return zip(hosts, sides).map { host, side in
      .comparing(subject, host.daemon.mode, side, to: baseline, sides[hosts.count])
    }
  }

  fileprivate func eventfdRings(of qemu: Qemu) throws(BenchError) -> Samples {
    let eventfd = try check("eventfd", vsocfs_bench_eventfd())
    defer { close(eventfd) }
    let socket = workplace.newPath("ivshmem")
    defer { unsafe unlink(socket) }
    return try qemu.rings(self, ivshmem: socket, bell: eventfd, listening: firstHandedOver)
  }

  fileprivate func eventfdRings() throws(BenchError) -> Samples {
    let eventfd = try check("eventfd", vsocfs_bench_eventfd())
    defer { close(eventfd) }
    let samples = "\(count(300))"
    return try run(
      [
        Client("ring-eventfd", cpu: 0, firstHandedOver, samples),
        Client("listen", cpu: 1, firstHandedOver, samples),
      ], handing: [eventfd]
    ).samples()
  }
}
