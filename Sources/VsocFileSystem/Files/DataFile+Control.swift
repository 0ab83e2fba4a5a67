// SPDX-License-Identifier: Apache-2.0

internal import CVsocABI
internal import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// The ioctls of `data` (SPEC §5): each is one call of the engine. The kernel hands over the
/// argument as the command's number encodes it, alike for 32- and 64-bit callers.
extension DataFile {
  func carryOut(
    _ request: consuming Request<Answer.Control>, _ command: ControlCommand,
    input: UnsafeRawBufferPointer
  ) {
    if let number = PermissionCalls.Number(rawValue: command.number) {
      return unsafe permissionCalls.carryOut(request, number, command, input: input)
    }
    // Not a use of the region: whoever opens a file may ask whether it is a terminal.
    guard let number = Number(rawValue: command.number) else {
      return request.fail(.inappropriateIOCTLForDevice)
    }
    guard permissionCalls.isWritable || !number.isChange else {
      return request.fail(.badFileDescriptor)
    }
    // One of ours may be the start of anything; from now on the region is in use as it is.
    do throws(Errno) {
      try seal()
    } catch {
      return request.fail(error)
    }
    switch number {
    case .condWait:
      unsafe condWait(request, input)
    case .waitForIncomingInterrupt:
      waitForInterrupt(request)
    default:
      do throws(Errno) {
        request.reply(output: try perform(number, command))
      } catch {
        request.fail(error)
      }
    }
  }

  /// The calls that never wait.
  private func perform(_ number: Number, _ command: ControlCommand) throws(Errno) -> [UInt8] {
    switch number {
    case .maybeSendInterrupt:
      guard try region.maybeSendInterrupt(from: end) else { throw .resourceBusy }
    case .sendInterrupt:
      try region.sendInterrupt(from: end)
    case .selfInterrupt:
      try region.selfInterrupt(end)
    case .describeRegion:
      return region.header(region.configuration).descriptor
    case .condWake:
      let offset = try offset(command)
      if offset % 4 == 0 { try check(offset) }
      try region.condWake(offset)
    case .regionInfo:
      return information
    case .post:
      let offset = try offset(command)
      do throws(OffsetError) {
        try region.check([offset])
      } catch { throw Region.errno(error) }
      guard try region.post([offset], from: end, allOrNothing: true) == .posted else {
        throw .resourceTemporarilyUnavailable
      }
    case .drain:
      return try drain()
    case .signalInject:
      try region.inject(from: end)
    case .signalEnable:
      try region.enableSignal(end)
    case .signalDisable:
      try region.disableSignal(end)
    case .condWait, .waitForIncomingInterrupt:
      throw .inappropriateIOCTLForDevice
    }
    return []
  }

  /// An argument that is an offset: one that has more than 32 bits is in no region.
  private func offset(_ command: ControlCommand) throws(Errno) -> UInt32 {
    guard let offset = UInt32(exactly: command.argument) else {
      throw command.argument % 4 == 0 ? .argListTooLong : .addressNotAvailable
    }
    return offset
  }

  private var information: [UInt8] {
    let geometry = region.configuration.geometry
    var info = vsocfs_region_info()
    info.size = geometry.size
    info.offset_of_region_data = geometry.dataOffset
    info.shm_signal_offset = geometry.shmSignalOffset
    info.index = region.index
    info.end = end.rawValue
    info.mode =
      isPageCache ? VSOCFS_MODE_PAGE_CACHE.rawValue : VSOCFS_MODE_PASSTHROUGH.rawValue
    return unsafe withUnsafeBytes(of: info) { unsafe Array($0) }
  }

  private func drain() throws(Errno) -> [UInt8] {
    let reader = drainingReader()
    let offsets = try region.read(reader, capacity: Int(VSOCFS_DRAIN_MAX))
    var result = vsocfs_drain()
    result.count = UInt32(offsets.count)
    let rest = try region.readiness(of: reader, watchingWritability: false)
    result.more = rest.readable ? 1 : 0
    unsafe withUnsafeMutableBytes(of: &result.offsets) { field in
      unsafe offsets.withUnsafeBytes { unsafe field.copyMemory(from: $0) }
    }
    return unsafe withUnsafeBytes(of: result) { unsafe Array($0) }
  }

  // MARK: Calls that wait

  private func waitForInterrupt(_ request: consuming Request<Answer.Control>) {
    do throws(Errno) {
      if try region.isInterruptRaised(at: end) { return request.reply() }
    } catch {
      return request.fail(error)
    }
    let parked = Parked<Answer.Control>()
    let wait = InterruptWait(region, end: end) { reason in
      parked.finish { request in
        if let reason { request.fail(reason.errno) } else { request.reply() }
      }
    }
    parked.park(request, on: wait)
  }

  private func condWait(
    _ request: consuming Request<Answer.Control>, _ input: UnsafeRawBufferPointer
  ) {
    guard input.count == MemoryLayout<vsoc_cond_wait>.size else {
      return request.fail(.invalidArgument)
    }
    let argument = unsafe input.loadUnaligned(as: vsoc_cond_wait.self)
    let deadline: MonotonicInstant?
    do throws(Errno) {
      if argument.offset % 4 == 0 { try check(argument.offset) }
      let value = try region.value(at: argument.offset)
      // What was read there may be what is there where nothing can be had.
      try check(argument.offset)
      deadline = try Self.deadline(argument)
      if value != argument.value {
        return request.reply(output: Self.bytes(argument, wakes: argument.wakes))
      }
    } catch {
      return request.fail(error, output: Self.bytes(argument, wakes: argument.wakes))
    }
    let parked = Parked<Answer.Control>()
    let wait = CondWait(
      region, end: end, offset: argument.offset, value: argument.value, deadline: deadline,
      wakes: argument.wakes
    ) { wakes, reason in
      parked.finish { request in
        let output = DataFile.bytes(argument, wakes: wakes)
        if let reason {
          request.fail(reason.errno, output: output)
        } else {
          request.reply(output: output)
        }
      }
    }
    parked.park(request, on: wait)
    // It may have been given up before there was somebody who sleeps there.
    do throws(Errno) {
      try check(argument.offset)
    } catch {
      region.parking.abandon(token: wait.token, error == .ioError ? .broken : .gone)
    }
  }

  /// - Throws: EINVAL for a type or a time that is none.
  private static func deadline(_ argument: vsoc_cond_wait) throws(Errno) -> MonotonicInstant? {
    switch argument.wait_type {
    case UInt32(VSOC_WAIT_IF_EQUAL.rawValue):
      return nil
    case UInt32(VSOC_WAIT_IF_EQUAL_TIMEOUT.rawValue):
      guard argument.wake_time_nsec < 1_000_000_000 else { throw .invalidArgument }
      return MonotonicInstant(
        seconds: argument.wake_time_sec, nanoseconds: argument.wake_time_nsec)
    default:
      throw .invalidArgument
    }
  }

  private static func bytes(_ argument: vsoc_cond_wait, wakes: UInt32) -> [UInt8] {
    var result = argument
    result.wakes = wakes
    return unsafe withUnsafeBytes(of: result) { unsafe Array($0) }
  }
}

extension DataFile {
  /// The numbers of the ioctls as callers encode them.
  private enum Number {
    case maybeSendInterrupt, waitForIncomingInterrupt, describeRegion, selfInterrupt
    case sendInterrupt, condWait, condWake
    case regionInfo, post, drain, signalInject, signalEnable, signalDisable

    /// Whether it changes something for others, which takes a file that is open for writing. Waking
    /// sleepers changes nothing: they look at their word, and sleep on.
    var isChange: Bool {
      switch self {
      case .maybeSendInterrupt, .selfInterrupt, .sendInterrupt, .post, .drain, .signalInject,
        .signalEnable, .signalDisable:
        true
      case .waitForIncomingInterrupt, .describeRegion, .condWait, .condWake, .regionInfo: false
      }
    }

    init?(rawValue: UInt32) {
      switch rawValue {
      case VSOC_NR_MAYBE_SEND_INTERRUPT.rawValue: self = .maybeSendInterrupt
      case VSOC_NR_WAIT_FOR_INCOMING_INTERRUPT.rawValue: self = .waitForIncomingInterrupt
      case VSOC_NR_DESCRIBE_REGION.rawValue: self = .describeRegion
      case VSOC_NR_SELF_INTERRUPT.rawValue: self = .selfInterrupt
      case VSOC_NR_SEND_INTERRUPT.rawValue: self = .sendInterrupt
      case VSOC_NR_COND_WAIT.rawValue: self = .condWait
      case VSOC_NR_COND_WAKE.rawValue: self = .condWake
      case VSOCFS_NR_REGION_INFO.rawValue: self = .regionInfo
      case VSOCFS_NR_POST.rawValue: self = .post
      case VSOCFS_NR_DRAIN.rawValue: self = .drain
      case VSOCFS_NR_SIGNAL_INJECT.rawValue: self = .signalInject
      case VSOCFS_NR_SIGNAL_ENABLE.rawValue: self = .signalEnable
      case VSOCFS_NR_SIGNAL_DISABLE.rawValue: self = .signalDisable
      default: return nil
      }
    }
  }
}
