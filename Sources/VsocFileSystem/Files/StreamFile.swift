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
    pollers.looked()
    let rest = leftover.withLock { rest in
      let part = Array(rest.prefix(size))
      rest.removeFirst(part.count)
      return part
    }
    guard rest.isEmpty else { return request.reply(rest) }
    do throws(Errno) {
      if let lines = try lines(size: size) { return request.reply(take(lines, size: size)) }
    } catch {
      return request.fail(error)
    }
    if flags.contains(.nonBlocking) { return request.fail(.resourceTemporarilyUnavailable) }

    let parked = Parked<Answer.Bytes>()
    let wait = wait(size: size) { [self] result in
      parked.finish { request in
        switch result {
        case .success(let lines): request.reply(self.take(lines, size: size))
        case .failure(let reason): request.fail(reason.errno)
        }
      }
    }
    guard let wait else { return request.fail(.invalidArgument) }
    parked.park(request, on: wait)
  }

  /// What fits of the lines; the rest is kept for the next read.
  private func take(_ lines: [UInt8], size: Int) -> [UInt8] {
    if lines.count <= size { return lines }
    leftover.withLock { $0 += lines[size...] }
    return Array(lines[..<size])
  }

  /// Whether a read would find the rest of a line.
  var hasLeftover: Bool { leftover.withLock { !$0.isEmpty } }
}
