// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage

/// What is done with files of areas (SPEC §7), and with the regions that the areas are of.
extension RegionFile {
  /// Gives a descriptor that is open for writing, for the duration of the call.
  func withWriter<Value>(
    _ body: (borrowing Descriptor) throws(Errno) -> Value
  ) throws(Errno) -> Value {
    guard kind == .stored || isReadOnly else { return try body(descriptor) }
    let writer = try descriptor.reopen(forWriting: true)
    return try body(writer)
  }

  /// Makes it that large, all zeros, by way of a descriptor that is open for writing. ENOSPC: there is no
  /// room.
  func begin(_ size: UInt32, _ writer: borrowing Descriptor) throws(Errno) {
    try writer.truncate(to: 0)
    if kind == .stored {
      try writer.allocate(UInt64(size))
    } else {
      try writer.truncate(to: UInt64(size))
    }
  }

  /// Makes it empty: who has it mapped still reaches nothing any more.
  func empty() throws(Errno) {
    try withWriter { writer throws(Errno) in try writer.truncate(to: 0) }
  }

  /// Whether nobody can write to it, nor ever will be able to. To be asked when there is no handle any
  /// more for which the kernel passes accesses through: a moment later, as it lets its own go after it
  /// has told of the close.
  func hasLostItsWriters() throws(Errno) -> Bool { try descriptor.hasNoWriters() }

  /// Calls `body` for each stretch of a range that holds data. What is in between are zeros.
  ///
  /// A file of a store has room for everything: of a hole in it nothing is known, and so it is taken as
  /// a whole.
  func forEachData(
    in range: Range<UInt64>, _ body: (Range<UInt64>) throws(Errno) -> Void
  ) throws(Errno) {
    guard kind == .memory else { return try body(range) }
    var rest = range
    while !rest.isEmpty, let data = try descriptor.data(in: rest) {
      try body(data)
      rest = data.upperBound..<range.upperBound
    }
  }

  /// Gives the memory of a range back, which is all zeros then. A file of a store keeps its room.
  func discard(_ range: Range<UInt64>) throws(Errno) {
    if kind == .memory { try descriptor.punchHole(in: range) }
  }
}
