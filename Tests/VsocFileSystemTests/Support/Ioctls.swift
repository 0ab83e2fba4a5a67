// SPDX-License-Identifier: Apache-2.0

import CVsocABI
import SystemPackage
import TestSupport

/// The ioctls as their numbers encode them.
enum Ioctl {
  static let maybeSendInterrupt = VSOC_NR_MAYBE_SEND_INTERRUPT.rawValue
  static let waitForInterrupt = VSOC_NR_WAIT_FOR_INCOMING_INTERRUPT.rawValue
  static let describeRegion = VSOC_NR_DESCRIBE_REGION.rawValue
  static let selfInterrupt = VSOC_NR_SELF_INTERRUPT.rawValue
  static let sendInterrupt = VSOC_NR_SEND_INTERRUPT.rawValue
  static let condWait = VSOC_NR_COND_WAIT.rawValue
  static let condWake = VSOC_NR_COND_WAKE.rawValue
  static let regionInfo = VSOCFS_NR_REGION_INFO.rawValue
  static let post = VSOCFS_NR_POST.rawValue
  static let drain = VSOCFS_NR_DRAIN.rawValue
  static let inject = VSOCFS_NR_SIGNAL_INJECT.rawValue
  static let enable = VSOCFS_NR_SIGNAL_ENABLE.rawValue
  static let disable = VSOCFS_NR_SIGNAL_DISABLE.rawValue

  static let createPermission = VSOC_NR_CREATE_FD_SCOPED_PERMISSION.rawValue
  static let getPermission = VSOC_NR_GET_FD_SCOPED_PERMISSION.rawValue
  static let createSizedPermission = VSOCFS_NR_CREATE_PERMISSION.rawValue
  static let releasePermission = VSOCFS_NR_RELEASE_PERMISSION.rawValue

  /// All that a `data` file knows.
  static let all = [
    maybeSendInterrupt, waitForInterrupt, describeRegion, selfInterrupt, sendInterrupt, condWait,
    condWake, regionInfo, post, drain, inject, enable, disable, createPermission, getPermission,
    createSizedPermission, releasePermission,
  ]

  static func number(_ nr: UInt32, size: UInt32 = 0, direction: UInt32 = 0) -> UInt32 {
    direction << 30 | size << 16 | 0xf5 << 8 | nr
  }
}

/// `vsoc_cond_wait`, there and back.
struct CondWaitArgument: Hashable {
  var offset: UInt32 = 0x2000
  var value: UInt32 = 0
  var seconds: UInt64 = 0
  var nanoseconds: UInt32 = 0
  var type: UInt32 = 1
  var wakes: UInt32 = 0
  var reserved: UInt32 = 0x5a5a_5a5a

  var bytes: [UInt8] {
    let argument = vsoc_cond_wait(
      offset: offset, value: value, wake_time_sec: seconds, wake_time_nsec: nanoseconds,
      wait_type: type, wakes: wakes, reserved_1: reserved)
    return unsafe withUnsafeBytes(of: argument) { unsafe Array($0) }
  }

  func counting(_ wakes: UInt32) -> CondWaitArgument {
    var result = self
    result.wakes = wakes
    return result
  }
}

/// `vsocfs_drain`.
struct Drained: Hashable {
  var offsets: [UInt32]
  var hasMore: Bool

  init(_ reply: FuseIoctlReply) throws {
    let words = unsafe reply.data.withUnsafeBytes { bytes in
      stride(from: 0, to: bytes.count, by: 4).map {
        unsafe bytes.loadUnaligned(fromByteOffset: $0, as: UInt32.self)
      }
    }
    guard reply.result == 0, words.count == 64, words[0] <= 62 else {
      throw TestFailure("no vsocfs_drain: \(reply)")
    }
    offsets = Array(words[2..<(2 + Int(words[0]))])
    hasMore = words[1] != 0
  }
}

extension ServedTree {
  func beginCondWait(_ data: FuseHandle, _ argument: CondWaitArgument) throws -> FuseWire.Ticket {
    try wire.beginIoctl(data, Ioctl.condWait, input: argument.bytes)
  }

  func drain(_ data: FuseHandle) throws -> Drained {
    try Drained(wire.ioctl(data, Ioctl.drain))
  }
}

extension FuseIoctlReply {
  /// What the caller sees: an error, and the argument that comes back with it.
  func failed(_ error: Errno, _ argument: CondWaitArgument) -> Bool {
    result == -error.rawValue && data == argument.bytes
  }

  /// Ended by a wakeup at which the word had changed. It may have been seen to change just before
  /// the wakeup that is sent for that, which then finds nobody and is not counted.
  func woke(_ argument: CondWaitArgument) -> Bool {
    succeeded(argument) || succeeded(argument.counting(argument.wakes &- 1))
  }

  func succeeded(_ argument: CondWaitArgument) -> Bool {
    result == 0 && data == argument.bytes
  }
}
