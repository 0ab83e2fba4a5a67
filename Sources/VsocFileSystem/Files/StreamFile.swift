// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// An open `doorbell` or `signal`: reads of lines that wait for their end to be woken, and pollers.
class StreamFile: OpenFile, @unchecked Sendable {
  let region: Region
  let end: End
  let pollers: PollState
  /// The rest of a line of which a small read took a part.
  private let leftover = Lock<[UInt8]>([])
  private let continuation = Continuation()

  init(_ region: Region, _ end: End, _ pollers: PollState) {
    self.region = region
    self.end = end
    self.pollers = pollers
  }

  /// The lines that there are now; nil if a read has to wait.
  ///
  /// - Parameter size: the caller's room. One line is given even if it does not fit.
  func lines(size: Int) throws(Errno) -> [UInt8]? { nil }

  /// A wait that ends with lines, or without.
  func wait(
    size: Int, _ completion: @escaping @Sendable (Result<[UInt8], Abandonment>) -> Void
  ) -> Waiter? { nil }

  final override func read(
    _ request: consuming Request<Answer.Bytes>, offset: UInt64, size: Int, flags: OpenFlags
  ) {
    let thread = request.caller.pid
    let turn = continuation.beginRead(of: thread, size: size)
    if turn == .rest { return request.reply([]) }
    pollers.looked()
    let rest = leftover.withLock { rest in
      let part = Array(rest.prefix(size))
      rest.removeFirst(part.count)
      return part
    }
    guard rest.isEmpty else { return reply(request, rest, size: size, to: thread) }
    do throws(Errno) {
      if let lines = try lines(size: size) {
        return reply(request, take(lines, size: size), size: size, to: thread)
      }
    } catch {
      return request.fail(error)
    }
    if flags.contains(.nonBlocking) || turn == .mustNotWait {
      return request.fail(.resourceTemporarilyUnavailable)
    }

    let parked = Parked<Answer.Bytes>()
    let wait = wait(size: size) { [self] result in
      parked.finish { request in
        switch result {
        case .success(let lines):
          self.reply(request, self.take(lines, size: size), size: size, to: thread)
        case .failure(let reason): request.fail(reason.errno)
        }
      }
    }
    guard let wait else { return request.fail(.invalidArgument) }
    parked.park(request, on: wait)
  }

  private func reply(
    _ request: consuming Request<Answer.Bytes>, _ bytes: [UInt8], size: Int, to thread: Int32
  ) {
    if bytes.count < size { continuation.readShort(of: thread, rest: size - bytes.count) }
    request.reply(bytes)
  }

  /// What fits of the lines; the rest is kept for the next read.
  private func take(_ lines: [UInt8], size: Int) -> [UInt8] {
    if lines.count <= size { return lines }
    leftover.withLock { $0 += lines[size...] }
    return Array(lines[..<size])
  }

  /// Whether a read would find the rest of a line, or the end of one.
  func hasMore(_ request: borrowing Request<Answer.Readiness>, _ events: PollEvents) -> Bool {
    continuation.hasRest(for: request.caller.pid, events) || leftover.withLock { !$0.isEmpty }
  }
}
