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
    guard let file = try? Descriptor(reading: "/proc/\(id)/status"),
      let text = try? file.readToEnd()
    else { return (id, "?") }
    func value(_ key: String) -> Substring? {
      text.split(separator: "\n").first { $0.hasPrefix(key) }?.dropFirst(key.count)
    }
    return (
      value("Tgid:\t").flatMap { Int32($0) } ?? id, value("Name:\t").map { String($0) } ?? "?"
    )
  }
}

extension Descriptor {
  fileprivate init(reading path: String) throws(Errno) {
    self.init(owning: try result { unsafe open(path, O_RDONLY | O_CLOEXEC) })
  }
}
