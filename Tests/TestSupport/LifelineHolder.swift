// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import CMountTesting
internal import Glibc
package import LinuxSystem
internal import SystemPackage

/// The memory of a lifeline, as other processes have it.
package final class LifelineMemory: Sendable {
  static let deadline: Int32 = 10_000

  private let file: Descriptor
  package let mapping: SharedMapping

  /// One that nobody holds yet.
  package init() throws {
    let memory = try SharedMemoryFile(name: "lifeline", size: Int(VSOCFS_LIFELINE_SIZE))
    file = memory.takeDescriptor()
    mapping = try SharedMapping(descriptor: file.raw, size: Int(VSOCFS_LIFELINE_SIZE))
    unsafe vsocfs_lifeline_init(mapping.base)
  }

  /// The one of this process.
  package init(_ lifeline: borrowing Lifeline) throws {
    file = Descriptor(owning: dup(lifeline.descriptor.raw))
    mapping = try SharedMapping(descriptor: file.raw, size: Int(VSOCFS_LIFELINE_SIZE))
  }

  package var descriptor: Int32 { file.raw }

  /// Waits until somebody sleeps on the mutex, which the kernel's interface for robust ones says in
  /// the topmost bit of its word: false at the deadline.
  package func isWaitedFor() -> Bool {
    let word = unsafe mapping.base.assumingMemoryBound(to: UInt32.self)
    let end = mt_milliseconds() + Int64(Self.deadline)
    while mt_milliseconds() < end {
      if unsafe word.pointee & 0x8000_0000 != 0 { return true }
      mt_sleep(1)
    }
    return false
  }
}

/// A process that holds a lifeline until it is killed.
package final class LifelineHolder {
  package let pid: Int32

  package init(of line: LifelineMemory) throws {
    pid = unsafe mt_fork(vsocfs_lifeline_hold, line.mapping.base)
    guard pid > 0 else { throw Errno(rawValue: -pid) }
  }

  package func kill() {
    Glibc.kill(pid, SIGKILL)
    var status: Int32 = 0
    _ = unsafe mt_wait(pid, LifelineMemory.deadline, &status)
  }
}
