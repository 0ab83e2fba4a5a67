// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// An open `doorbell`.
final class DoorbellFile: StreamFile, @unchecked Sendable {
  private let reader: DoorbellReader
  /// Opened with O_APPEND: the kernel lets one such writer in at a time, so that none may wait.
  private let isAppending: Bool

  init(_ region: Region, _ end: End, flags: OpenFlags) {
    isAppending = flags.contains(.append)
    let pollers = PollState()
    reader = region.openDoorbell(end, observer: pollers)
    super.init(region, end, pollers)
  }

  // MARK: Reading

  override func lines(size: Int) throws(Errno) -> [UInt8]? {
    let offsets = try region.read(reader, capacity: Self.capacity(size))
    return offsets.isEmpty ? nil : DoorbellText.lines(offsets)
  }

  override func wait(
    size: Int, _ completion: @escaping @Sendable (Result<[UInt8], Abandonment>) -> Void
  ) -> Waiter? {
    DoorbellRead(reader, capacity: Self.capacity(size)) { completion($0.map(DoorbellText.lines)) }
  }

  private static func capacity(_ size: Int) -> Int { max(size / DoorbellText.lineLength, 1) }

  // MARK: Writing

  override func write(
    _ request: consuming Request<Answer.Count>, offset: UInt64, bytes: UnsafeRawBufferPointer,
    flags: OpenFlags
  ) {
    let text: DoorbellText
    let outcome: PostOutcome
    let mayBlock = !flags.contains(.nonBlocking) && !isAppending
    do throws(Errno) {
      try checkRoom(for: bytes.count, mayBlock: mayBlock, of: request.caller)
      text = try unsafe DoorbellText(bytes)
      try check(text.offsets)
      outcome =
        text.offsets.isEmpty
        ? .posted : try region.post(text.offsets, from: end, allOrNothing: !mayBlock)
    } catch {
      return request.fail(error)
    }
    switch outcome {
    case .posted:
      finish(request, text)
    case .exceedsTable:
      request.fail(.messageTooLong)
    case .full(let posted):
      guard mayBlock else { return request.fail(.resourceTemporarilyUnavailable) }
      park(request, text, posted: posted)
    }
  }

  /// A long text that could not wait is refused before it is read: many at once would keep others waiting.
  ///
  /// - Throws: ENOBUFS.
  private func checkRoom(
    for length: Int, mayBlock: Bool, of caller: Caller
  ) throws(Errno) {
    guard mayBlock, length > Self.shortLength, length <= DoorbellText.maximumLength else { return }
    guard region.parking.hasRoom(forWriteOf: length / 2, by: caller.uid) else {
      throw .noBufferSpace
    }
  }

  private static let shortLength = 4096

  private func check(_ offsets: [UInt32]) throws(Errno) {
    do throws(OffsetError) {
      try region.check(offsets)
    } catch { throw Region.errno(error) }
  }

  private func finish(_ request: consuming Request<Answer.Count>, _ text: DoorbellText) {
    if text.isBareRing {
      do throws(Errno) {
        try region.sendInterrupt(from: end)
      } catch {
        return request.fail(error)
      }
    }
    request.reply(text.length)
  }

  /// Waits for room. As with a pipe, a caller that is interrupted learns how much was taken.
  private func park(
    _ request: consuming Request<Answer.Count>, _ text: DoorbellText, posted: Int
  ) {
    let parked = Parked<Answer.Count>()
    let wait = DoorbellWrite(region, from: end, offsets: text.offsets, posted: posted) {
      [self] posted, reason in
      parked.finish { request in
        if reason == nil {
          self.finish(request, text)
        } else if posted > 0 {
          request.reply(Int(text.ends[posted - 1]))
        } else if let reason {
          request.fail(reason.errno)
        }
      }
    }
    parked.park(request, on: wait)
  }

  // MARK: Polling, closing

  override func poll(
    _ request: consuming Request<Answer.Readiness>, events: PollEvents,
    pollHandle: consuming PollHandle?
  ) {
    pollers.rearm(pollHandle)
    let watching = events.asksForWritability
    guard let ready = try? region.readiness(of: reader, watchingWritability: watching) else {
      return request.reply([.readable, .writable])
    }
    var result: PollEvents = []
    if hasMore(request, events) || ready.readable { result.insert(.readable) }
    if ready.writable { result.insert(.writable) }
    request.reply(result)
  }

  override func close() {
    region.close(reader)
    region.endUse()
  }
}
