// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// A thread of another process, as far as this one may look into it (ptrace(2) access: the same
/// user with no more capabilities, or CAP_SYS_PTRACE).
package struct OtherThread: Hashable, Sendable {
  package let id: Int32

  package init(_ id: Int32) { self.id = id }

  /// A word of its memory.
  ///
  /// - Throws: EFAULT: there is none. EPERM: it may not be looked at. ESRCH: the thread is gone.
  package func word(at address: UInt64) throws(Errno) -> Int32 {
    // A thread of another pid namespace has no number here.
    guard id > 0 else { throw .notPermitted }
    var word: Int32 = 0
    try check { unsafe vsocfs_read_process(id, address, &word, MemoryLayout<Int32>.size) }
    return word
  }

  /// The FUSE node for which one of its descriptors is open.
  ///
  /// - Parameter device: the minor device number of the file system.
  /// - Throws: EACCES: it may not be looked at. Anything else: there is no such descriptor, or it is
  ///   open for something else.
  package func node(of descriptor: Int32, on device: Int32) throws(Errno) -> UInt64 {
    guard id > 0 else { throw .permissionDenied }
    var node: UInt64 = 0
    try check { unsafe vsocfs_find_node(id, descriptor, device, &node) }
    return node
  }

  /// Its process, and the name of what runs there; the thread itself, and no name, if it is gone.
  package var process: (id: Int32, name: String) {
    // Both are among the first lines, and what a claim waits for is worth no more than those.
    guard let file = try? Descriptor(reading: "/proc/\(id)/status"),
      let lines = try? file.read(512, at: 0).split(separator: UInt8(ascii: "\n"))
    else { return (id, "?") }
    func value(_ key: String) -> String? {
      lines.first { $0.starts(with: key.utf8) }
        .map { String(decoding: $0.dropFirst(key.utf8.count), as: UTF8.self) }
    }
    return (value("Tgid:\t").flatMap { Int32($0) } ?? id, value("Name:\t") ?? "?")
  }
}

extension Descriptor {
  fileprivate init(reading path: String) throws(Errno) {
    self.init(owning: try result { unsafe open(path, O_RDONLY | O_CLOEXEC) })
  }
}
