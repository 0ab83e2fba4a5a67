// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// The kernel's side of the FUSE protocol, as far as the tests speak it: version 7.40, the first
/// that knows passthrough. Numbers and layouts are those of the kernel's ABI.
package enum FuseABI {
  package enum Operation: UInt32, Sendable {
    case lookup = 1
    case forget = 2
    case getAttributes = 3
    case setAttributes = 4
    case symlink = 6
    case makeNode = 8
    case makeDirectory = 9
    case unlink = 10
    case removeDirectory = 11
    case rename = 12
    case link = 13
    case open = 14
    case read = 15
    case write = 16
    case statistics = 17
    case release = 18
    case synchronize = 20
    case flush = 25
    case initialize = 26
    case openDirectory = 27
    case readDirectory = 28
    case releaseDirectory = 29
    case access = 34
    case create = 35
    case interrupt = 36
    case destroy = 38
    case ioctl = 39
    case poll = 40
    case batchForget = 42
  }

  static let major: UInt32 = 7
  static let minor: UInt32 = 40

  /// What such a kernel offers; not FUSE_DO_READDIRPLUS, so that directories are read plainly.
  static let offeredFlags: UInt32 = {
    let bits: [UInt32] = [
      0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 29, 30,
    ]
    return bits.reduce(0) { $0 | 1 << $1 }
  }()
  /// Bits 34 to 39 without passthrough.
  static let offeredFlags2: UInt32 = 0b1101_1100
  /// FUSE_PASSTHROUGH, bit 37 of all.
  static let passthroughFlag2: UInt32 = 1 << 5
  static let extendedFlag: UInt32 = 1 << 30

  static let inHeaderSize = 40
  static let outHeaderSize = 16

  /// The code of a notification that some poll handle may have become ready.
  static let notifyPoll: Int32 = 1

  /// FUSE_POLL_SCHEDULE_NOTIFY: somebody sleeps until there is a notification.
  static let scheduleNotify: UInt32 = 1

  /// Open flags of a reply (FOPEN_*).
  package static let openDirectIO: UInt32 = 1 << 0
  package static let openKeepCache: UInt32 = 1 << 1
  package static let openNonSeekable: UInt32 = 1 << 2
  package static let openStream: UInt32 = 1 << 4
  package static let openNoFlush: UInt32 = 1 << 5
  package static let openParallelDirectWrites: UInt32 = 1 << 6
  package static let openPassthrough: UInt32 = 1 << 7

  package static let rootNode: UInt64 = 1

  /// FUSE_READ_LOCKOWNER: the read has an owner, a number without a meaning, as each of read(2) has.
  static let readLockOwner: UInt32 = 1 << 1
  static let lockOwner: UInt64 = 0x5eed_0000_0001
}

/// Puts integers together to a message; the byte order is the machine's own.
package struct WireWriter {
  package private(set) var bytes: [UInt8] = []

  package init() {}

  package mutating func append(_ values: UInt32...) {
    for value in values { append(integer: value) }
  }

  package mutating func append64(_ values: UInt64...) {
    for value in values { append(integer: value) }
  }

  private mutating func append(integer: some FixedWidthInteger) {
    unsafe withUnsafeBytes(of: integer) { unsafe bytes.append(contentsOf: $0) }
  }

  /// Text, and the NUL behind it.
  package mutating func append(_ name: String) {
    bytes.append(contentsOf: name.utf8)
    bytes.append(0)
  }

  package mutating func append(_ data: [UInt8]) { bytes.append(contentsOf: data) }
}

/// Takes integers from a message.
struct WireReader {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: [UInt8]) { rest = bytes[...] }

  var isAtEnd: Bool { rest.isEmpty }

  private mutating func take<Value: FixedWidthInteger>(_: Value.Type) throws -> Value {
    let size = MemoryLayout<Value>.size
    let bytes = try take(size)
    return unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(as: Value.self) }
  }

  mutating func u16() throws -> UInt16 { try take(UInt16.self) }
  mutating func u32() throws -> UInt32 { try take(UInt32.self) }
  mutating func s32() throws -> Int32 { try take(Int32.self) }
  mutating func u64() throws -> UInt64 { try take(UInt64.self) }

  mutating func take(_ count: Int) throws -> [UInt8] {
    guard count <= rest.count else { throw FuseWireFailure.malformed("reply too short") }
    defer { rest.removeFirst(count) }
    return Array(rest.prefix(count))
  }

  mutating func skip(_ count: Int) throws { _ = try take(count) }

  mutating func remainder() -> [UInt8] {
    defer { rest.removeAll() }
    return Array(rest)
  }
}

/// What goes wrong on the wire, as opposed to an error that the daemon answers (an `Errno`).
package enum FuseWireFailure: Error, Hashable {
  case timedOut
  /// The daemon has closed its end.
  case closed
  case malformed(String)
}
