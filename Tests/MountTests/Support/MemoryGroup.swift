// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A control group with little memory, for as long as this lives. Nil where there is no controller.
final class MemoryGroup {
  private let path: String
  private let parent: String

  init?(limit: Int) throws {
    let places = [
      (root: "/sys/fs/cgroup/memory", key: "memory.limit_in_bytes"),
      (root: "/sys/fs/cgroup", key: "memory.max"),
    ]
    let place = places.first { place in
      place.key == "memory.max"
        ? contents(of: place.root + "/cgroup.subtree_control")?.contains("memory") == true
        : unsafe access(place.root + "/" + place.key, F_OK) == 0
    }
    guard let place else { return nil }
    parent = place.root
    path = place.root + "/vsocfs-test-\(getpid())"
    guard unsafe mkdir(path, 0o755) == 0 || errno == EEXIST else {
      throw HarnessError("cannot make \(path): errno \(errno)")
    }
    try createFile(path + "/" + place.key, "\(limit)\n")
  }

  func add(_ pid: Int32) throws {
    try createFile(path + "/cgroup.procs", "\(pid)\n")
  }

  deinit {
    for pid in (contents(of: path + "/cgroup.procs") ?? "").split(separator: "\n") {
      _ = try? createFile(parent + "/cgroup.procs", "\(pid)\n")
    }
    unsafe rmdir(path)
  }
}
