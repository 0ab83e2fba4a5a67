// SPDX-License-Identifier: Apache-2.0

internal import DaemonLog
internal import LinuxSystem
internal import VsocEngine
internal import VsocProtocol

/// The `key value` lines of `info` and of `.vsocfs/stats`.
extension VsocFileSystem {
  func infoText(_ region: Region, _ end: End) -> String {
    let snapshot = region.snapshot(of: end)
    let configuration = snapshot.configuration
    let geometry = configuration.geometry
    func table(_ table: TableGeometry) -> String {
      "\(table.nodesLg2) \(table.tableOffset) \(table.wordOffset)"
    }
    func bit(_ value: Bool) -> String { value ? "1" : "0" }
    return Self.lines(
      [
        ("name", region.name.description),
        ("end", end == .guest ? "guest" : "host"),
        ("index", "\(region.index)"),
        ("size", "\(geometry.size)"),
        ("mode", mode.name),
        ("data_offset", "\(geometry.dataOffset)"),
        ("guest_to_host", table(geometry.guestToHost)),
        ("host_to_guest", table(geometry.hostToGuest)),
        ("shm_signal_offset", "\(geometry.shmSignalOffset)"),
        ("managed_by", configuration.managedBy?.description ?? "-"),
        ("permissions", "\(region.permissionCount)"),
        ("incoming_interrupt", bit(snapshot.engines.incomingInterrupt)),
        ("incoming_posted", "\(snapshot.engines.incomingPosted)"),
        ("outgoing_interrupt", bit(snapshot.engines.outgoingInterrupt)),
        ("outgoing_posted", "\(snapshot.engines.outgoingPosted)"),
        ("signal_enabled", bit(snapshot.engines.isSignalEnabled)),
        ("signal_pending", bit(snapshot.engines.isSignalPending)),
        ("signal_dirty", bit(snapshot.engines.isSignalDirty)),
        ("signal_count", "\(snapshot.signalCount)"),
        ("doorbell_readers", "\(snapshot.doorbellReaders)"),
        ("signal_readers", "\(snapshot.signalReaders)"),
        ("blocked_writers", "\(snapshot.blockedWriters)"),
        ("cond_sleepers", "\(snapshot.sleepers)"),
        ("users", "\(snapshot.users)"),
      ] + peerLines(of: end, in: region))
  }

  private func peerLines(of end: End, in region: Region) -> [(String, String)] {
    let peers = region.peers.filter { $0.end == end }
    return [("peers", "\(peers.count)")] + peers.map { ("peer", "\($0.kind.name) \($0.id)") }
  }

  var statisticsText: String {
    let peerCounts = engine.peerCounts
    let own = [
      ("regions", engine.regionCount),
      ("bytes", Int(engine.usedBytes)),
      ("open_files", handles.withLock { $0.count }),
      ("permissions", engine.permissionCount),
      ("managed_nodes", areaNodes.count),
      ("peers_vm", peerCounts[.vm] ?? 0),
      ("peers_host_client", peerCounts[.hostClient] ?? 0),
      ("waiting_calls", engine.parking.count),
      ("futex_threads", engine.futexThreadCount),
      ("log_lines_suppressed", log.suppressedLines),
    ]
    return Self.lines((own + engine.counters.values).map { ($0.0, "\($0.1)") })
  }

  private static func lines(_ pairs: [(String, String)]) -> String {
    pairs.map { "\($0.0) \($0.1)\n" }.joined()
  }
}
