// SPDX-License-Identifier: Apache-2.0

internal import CLinux
package import SystemPackage

/// Lets other processes know when this one ends, whatever ends it.
///
/// A pidfd or the end of a pipe would tell them too late: a process that was killed can hang
/// before it gets as far as that.
package struct Lifeline: ~Copyable, Sendable {
  /// For whoever is to wait: `vsocfs_lifeline_wait` on a mapping of it.
  package let descriptor: Descriptor
  private let holder: Holder

  /// What the thread that holds the mutex needs; it ends with the thread.
  private final class Holder: Sendable {
    let mapping: SharedMapping
    let holds: EventDescriptor
    let lettingGo: EventDescriptor

    init(_ mapping: SharedMapping) throws(Errno) {
      self.mapping = mapping
      holds = try EventDescriptor()
      lettingGo = try EventDescriptor()
    }

    func run() {
      unsafe vsocfs_lifeline_hold(mapping.base)
      holds.signal()
      lettingGo.wait()
      unsafe vsocfs_lifeline_let_go(mapping.base)
    }
  }

  package init() throws(Errno) {
    let size = Int(VSOCFS_LIFELINE_SIZE)
    let memory = try SharedMemoryFile(name: "vsocfs-lifeline", size: size)
    let mapping = try SharedMapping(descriptor: memory.descriptor.raw, size: size)
    unsafe vsocfs_lifeline_init(mapping.base)
    let holder = try Holder(mapping)
    try Thread.start(name: "vsoc-life", stackSize: 128 << 10) { holder.run() }
    holder.holds.wait()
    self.holder = holder
    descriptor = memory.takeDescriptor()
  }

  /// Tells those who wait that there is nothing to be heard from here any more.
  package func letGo() {
    holder.lettingGo.signal()
  }

  deinit {
    letGo()
  }
}
