// SPDX-License-Identifier: Apache-2.0

/// How a measured daemon has the memory of its regions.
enum Mode: String, Encodable, CaseIterable {
  case passthrough
  case pageCache = "page-cache"
  /// Passthrough to the files of a store; for rows in which files matter.
  case store

  /// Options of the daemon.
  func options(store: String) -> [String] {
    switch self {
    case .passthrough: ["-o", "passthrough=on"]
    case .pageCache: ["-o", "passthrough=off"]
    case .store: ["-o", "passthrough=on", "--store", store]
    }
  }
}

extension Set<Mode> {
  static let all: Self = Set(Mode.allCases)
}

/// Which modes a run is to show.
enum ModeChoice: String, CaseIterable {
  case passthrough
  case pageCache = "page-cache"
  /// All that can be had here.
  case both

  var modes: [Mode] {
    switch self {
    case .passthrough: [.passthrough, .store]
    case .pageCache: [.pageCache]
    case .both: Mode.allCases
    }
  }
}
