// SPDX-License-Identifier: Apache-2.0

internal import CVsocBench
internal import Glibc

/// A file of no daemon, as large as a region: what the memory of one is compared with.
enum PlainFile: String, CaseIterable {
  case memfd
  /// In the file system that the stores are in, with all its blocks, as a store's are.
  case file

  func open(_ size: Int, in workplace: Workplace) throws(BenchError) -> Int32 {
    switch self {
    case .memfd:
      return try check("memfd", vsocfs_bench_memfd(size))
    case .file:
      return try check(
        "file in \(workplace.directory)", unsafe vsocfs_bench_file(workplace.directory, size))
    }
  }
}

/// The first descriptor that a client is handed, as a client's target.
let firstHandedOver = "fd:\(VSOCFS_BENCH_FIRST_FD)"

extension Bench {
  /// Runs clients on a fresh file that they are handed.
  func run(
    _ clients: [Client], on file: PlainFile, _ size: Int
  ) throws(BenchError) -> Samples {
    let descriptor = try file.open(size, in: workplace)
    defer { close(descriptor) }
    return try run(clients, handing: [descriptor]).samples()
  }

  /// Rows of what clients do with `data`, against the same with a plain file.
  ///
  /// - Parameter isFresh: each round has a region of its own, as it has a file of its own.
  func compareWithFile(
    _ subject: Subject, size: Int, on daemons: [Daemon], isFresh: Bool = false,
    _ clients: (RegionTargets) -> [Client]
  ) throws(BenchError) -> [Row] {
    let files = PlainFile.allCases.filter { file in daemons.contains { $0.plainFile == file } }
    let sides = try interleave(
      daemons,
      { (daemon) throws(BenchError) in
        let region = isFresh ? "fresh" : "bench"
        if isFresh { try daemon.makeRegion(region, size: size) }
        defer { if isFresh { daemon.removeRegion(region) } }
        return try run(clients(daemon.targets(in: region)), handing: []).samples()
      },
      baselines: files.count,
      { (index) throws(BenchError) in
        try run(clients(.handedOver), on: files[index], size)
      })
    return daemons.indices.map { index in
      let baseline = files.firstIndex(of: daemons[index].plainFile) ?? 0
      return .comparing(
        subject, daemons[index].mode, sides.daemons[index], to: files[baseline].rawValue,
        sides.baselines[baseline])
    }
  }
}

/// What clients of a region open.
struct RegionTargets {
  var data: String
  var peerData: String
  /// What one at the host's end maps: a page cache belongs to one inode.
  var peerMapping: String

  /// All the same.
  static let handedOver = RegionTargets(
    data: firstHandedOver, peerData: firstHandedOver, peerMapping: firstHandedOver)
}

extension Daemon {
  /// What is like a region's file.
  var plainFile: PlainFile { mode == .store ? .file : .memfd }

  func targets(in region: String) -> RegionTargets {
    let (data, peerData) = (path("\(region)/data"), path("\(region)/peer/data"))
    return RegionTargets(
      data: data, peerData: peerData, peerMapping: mode == .pageCache ? data : peerData)
  }
}
