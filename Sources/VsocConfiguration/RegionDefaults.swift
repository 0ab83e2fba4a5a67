// SPDX-License-Identifier: Apache-2.0

package import VsocEngine

/// What a region has where nothing else is said of it.
package struct RegionDefaults: Hashable, Sendable {
  package var uid: UInt32
  package var gid: UInt32
  /// Of the files of both ends.
  package var mode: UInt32
  /// In bytes.
  package var size: UInt64

  package init(uid: UInt32, gid: UInt32, mode: UInt32 = 0o660, size: UInt64 = 1 << 20) {
    self.uid = uid
    self.gid = gid
    self.mode = mode
    self.size = size
  }

  package var access: EndAccess { EndAccess(uid: uid, gid: gid, mode: mode) }
}
