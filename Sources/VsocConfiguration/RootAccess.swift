// SPDX-License-Identifier: Apache-2.0

/// Owner and mode of the root directory, which may be changed as any other's.
package struct RootAccess: Hashable, Sendable {
  package var uid: UInt32
  package var gid: UInt32
  /// Permission bits of a directory, and the sticky bit.
  package var mode: UInt32

  package init(uid: UInt32, gid: UInt32, mode: UInt32) {
    self.uid = uid
    self.gid = gid
    self.mode = mode
  }
}
