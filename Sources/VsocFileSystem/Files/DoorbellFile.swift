// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// An open `doorbell`.
final class DoorbellFile: OpenFile, @unchecked Sendable {
  private let region: Region
  private let end: End
  private let reader: DoorbellReader
  /// Opened with O_APPEND: the kernel lets one such writer in at a time, so that none may wait.
  private let isAppending: Bool
  private let pollers = PollState()
  /// The rest of a line of which a small read took a part.
  private let leftover = Lock<[UInt8]>([])

  init(_ region: Region, _ end: End, flags: OpenFlags) {
    self.region = region
    self.end = end
    isAppending = flags.contains(.append)
    reader = region.openDoorbell(end, observer: pollers)
  }

  // MARK: Reading

  override func read(
    _ request: consuming Request<Answer.Bytes>, offset: UInt64, size: Int, flags: OpenFlags
  ) {
    pollers.looked()
    let rest = leftover.withLock { rest in
      let part = Array(rest.prefix(size))
      rest.removeFirst(part.count)
      return part
    }
    guard rest.isEmpty else { return request.reply(rest) }
    let capacity = max(size / DoorbellText.lineLength, 1)
    do throws(Errno) {
      let offsets = try region.read(reader, capacity: capacity)
      if !offsets.isEmpty { return request.reply(take(offsets, size: size)) }
    } catch {
      return request.fail(error)
    }
    if flags.contains(.nonBlocking) { return request.fail(.resourceTemporarilyUnavailable) }

    let parked = Parked<Answer.Bytes>()
    let wait = DoorbellRead(reader, capacity: capacity) { [self] result in
      parked.finish { request in
        switch result {
        case .success(let offsets): request.reply(self.take(offsets, size: size))
        case .failure(let reason): request.fail(reason.errno)
        }
      }
    }
    region.parking.register(wait)
    request.reportInterrupt(as: wait.token)
    parked.put(request)
    wait.park { try region.park(wait) }
  }

  /// The lines that fit, or the first bytes of one; its rest is kept for the next read.
  private func take(_ offsets: [UInt32], size: Int) -> [UInt8] {
    let lines = DoorbellText.lines(offsets)
    if lines.count <= size { return lines }
    leftover.withLock { $0 += lines[size...] }
    return Array(lines[..<size])
  }

  // MARK: Writing

  override func write(
    _ request: consuming Request<Answer.Count>, offset: UInt64, bytes: UnsafeRawBufferPointer,
    flags: OpenFlags
  ) {
    let text: DoorbellText
    let outcome: PostOutcome
    let mayBlock = !flags.contains(.nonBlocking) && !isAppending
    do throws(Errno) {
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
          request.reply(text.ends[posted - 1])
        } else if let reason {
          request.fail(reason.errno)
        }
      }
    }
    region.parking.register(wait)
    request.reportInterrupt(as: wait.token)
    parked.put(request)
    wait.park { try region.park(wait) }
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
    if ready.readable || leftover.withLock({ !$0.isEmpty }) { result.insert(.readable) }
    if ready.writable { result.insert(.writable) }
    request.reply(result)
  }

  override func close() {
    region.close(reader)
    region.endUse()
  }
}
