// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// Rings events that other processes have as well (`SharedEvent`), and never waits for them.
///
/// O_NONBLOCK and the counter of an eventfd belong to all who have it: one of them can make write(2) wait for
/// ever. The kernel itself adds to an eventfd without waiting, here at the end of an asynchronous read of no
/// bytes (io_submit(2)). The number of its contexts is limited for the whole machine, and any user may take
/// them: one is had before anybody has an event to be rung.
package final class Ringer: Sendable {
  private let submit: @Sendable (Int32) throws(Errno) -> Void

  /// - Throws: EAGAIN: others have all contexts that the kernel gives (/proc/sys/fs/aio-max-nr).
  package init() throws(Errno) {
    let context = try Context()
    submit = { event throws(Errno) in try context.ring(event) }
  }

  /// For tests of what happens where the kernel has no memory.
  package init(submit: @escaping @Sendable (Int32) throws(Errno) -> Void) {
    self.submit = submit
  }

  /// Adds 1 to an eventfd, also to one that is full, which is heard all the same.
  func ring(_ event: Int32) throws(Errno) { try submit(event) }

  private final class Context: Sendable {
    private let number: UInt64
    private let empty: Descriptor

    init() throws(Errno) {
      empty = try SharedMemoryFile(name: "vsocfs:ringer", size: 0).takeDescriptor()
      var number: UInt64 = 0
      try check { unsafe vsocfs_ringer_create(&number) }
      self.number = number
    }

    deinit { vsocfs_ringer_destroy(number) }

    func ring(_ event: Int32) throws(Errno) {
      let (number, file) = (number, empty.raw)
      try check { vsocfs_ring(number, file, event) }
    }
  }
}
