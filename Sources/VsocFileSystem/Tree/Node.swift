// SPDX-License-Identifier: Apache-2.0

internal import VsocProtocol

/// A file or directory of the tree (SPEC §2). Its number is both the node id and `st_ino`: it
/// follows from what the node is, so that it is stable, and needs no table and no lookup counts.
/// Indices of regions are never used twice, and so neither are numbers.
enum Node: Hashable, Sendable {
  case root
  case facts
  case fact(Fact)
  /// The daemon's own directory: its names are found by its own threads, and stand in no listing.
  case own
  case end(RegionEnd)
  case file(RegionEnd, EndFile)

  /// One end of a region, by index.
  struct RegionEnd: Hashable, Sendable {
    let region: UInt32
    let end: End
  }

  /// The files of `.vsocfs`.
  enum Fact: UInt64, CaseIterable, Sendable {
    case version = 3
    case layout
    case stats

    var name: String {
      switch self {
      case .version: "version"
      case .layout: "layout"
      case .stats: "stats"
      }
    }
  }

  /// The files of ends.
  enum EndFile: UInt64, CaseIterable, Sendable {
    case data = 1
    case signal
    case doorbell
    case info
    case permissions
    case ivshmem

    /// Those that an end has: both share one table of permissions.
    static func all(of end: End) -> [EndFile] {
      end == .guest ? allCases : allCases.filter { $0 != .permissions }
    }

    /// Whether a permission can be held by an open handle of it, in a managed region.
    var canHoldPermission: Bool { self == .data || self == .permissions }

    var name: String {
      switch self {
      case .data: "data"
      case .signal: "signal"
      case .doorbell: "doorbell"
      case .info: "info"
      case .permissions: "permissions"
      case .ivshmem: "ivshmem"
      }
    }
  }

  static let factsName = ".vsocfs"
  static let ownName = ".vsocfs-own"
  private static let ownNumber: UInt64 = 0xff
  static let peerName = "peer"

  /// Region's nodes: index, then a bit for the end, then the file (0: the directory).
  private static let endBit: UInt64 = 0x80
  private static let indexShift: UInt64 = 8

  init?(_ number: UInt64) {
    switch number {
    case 1: self = .root
    case 2: self = .facts
    case Self.ownNumber: self = .own
    case 3..<0x100:
      guard let fact = Fact(rawValue: number) else { return nil }
      self = .fact(fact)
    default:
      guard let index = UInt32(exactly: number >> Self.indexShift) else { return nil }
      let end = RegionEnd(region: index, end: number & Self.endBit == 0 ? .guest : .host)
      let code = number & (Self.endBit - 1)
      if code == 0 {
        self = .end(end)
      } else if let file = EndFile(rawValue: code), EndFile.all(of: end.end).contains(file) {
        self = .file(end, file)
      } else {
        return nil
      }
    }
  }

  var number: UInt64 {
    switch self {
    case .root: 1
    case .facts: 2
    case .own: Self.ownNumber
    case .fact(let fact): fact.rawValue
    case .end(let end): Self.number(of: end)
    case .file(let end, let file): Self.number(of: end) + file.rawValue
    }
  }

  private static func number(of end: RegionEnd) -> UInt64 {
    UInt64(end.region) << indexShift + (end.end == .guest ? 0 : endBit)
  }

  /// Which end of which region the node belongs to.
  var regionEnd: RegionEnd? {
    switch self {
    case .root, .facts, .fact, .own: nil
    case .end(let end), .file(let end, _): end
    }
  }

  var isSocket: Bool {
    if case .file(_, .ivshmem) = self { true } else { false }
  }

  var isDirectory: Bool {
    switch self {
    case .root, .facts, .own, .end: true
    case .fact, .file: false
    }
  }
}
