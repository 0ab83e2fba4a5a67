// SPDX-License-Identifier: Apache-2.0

internal import CLinux
package import SystemPackage

/// Who writes to a file, and where in it there is anything.
extension Descriptor {
  /// Opens the file once more, for reading or for both: by way of /proc.
  package func reopen(forWriting: Bool) throws(Errno) -> Descriptor {
    Descriptor(owning: try check { vsocfs_reopen(raw, forWriting) })
  }

  /// Whether nobody has the file open for writing, nor mapped by way of such a descriptor. This one
  /// is for reading only. Does not wait, unlike F_SEAL_WRITE of a memfd, for which somebody can hold pages
  /// back (vmsplice(2)).
  package func hasNoWriters() throws(Errno) -> Bool {
    do throws(Errno) {
      try check { vsocfs_has_no_writers(raw) }
      return true
    } catch .wouldBlock {
      return false
    }
  }

  /// The first stretch in a range of the file that is no hole (lseek(2) SEEK_DATA).
  package func data(in range: Range<UInt64>) throws(Errno) -> Range<UInt64>? {
    var (start, end) = (Int64(range.lowerBound), Int64(range.upperBound))
    guard try check({ unsafe vsocfs_next_data(raw, &start, &end) }) == 1 else { return nil }
    return UInt64(start)..<UInt64(end)
  }

  /// Copies a range of this file into another one, whose position this changes. If that fails, a part of
  /// it may be written.
  package func copy(
    _ range: Range<UInt64>, to target: borrowing Descriptor, at offset: UInt64
  ) throws(Errno) {
    try check {
      vsocfs_copy(raw, Int64(range.lowerBound), target.raw, Int64(offset), Int64(range.count))
    }
  }

  /// Gives the room of a range back: zeros are read there afterwards (fallocate(2)).
  package func punchHole(in range: Range<UInt64>) throws(Errno) {
    try check { vsocfs_punch_hole(raw, Int64(range.lowerBound), Int64(range.count)) }
  }
}
