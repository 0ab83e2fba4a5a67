// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// An open `signal`.
final class SignalFile: OpenFile, @unchecked Sendable {
  /// Longer text is none of the commands.
  private static let maximumLength = 64

  private let region: Region
  private let end: End
  private let reader: SignalReader
  private let pollers = PollState()
  /// The rest of a line of which a small read took a part.
  private let leftover = Lock<[UInt8]>([])

  init(_ region: Region, _ end: End) {
    self.region = region
    self.end = end
    reader = region.openSignal(end, observer: pollers)
  }

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
    do throws(Errno) {
      if let count = try region.read(reader) { return request.reply(take(count, size: size)) }
    } catch {
      return request.fail(error)
    }
    if flags.contains(.nonBlocking) { return request.fail(.resourceTemporarilyUnavailable) }

    let parked = Parked<Answer.Bytes>()
    let wait = SignalRead(reader) { [self] result in
      parked.finish { request in
        switch result {
        case .success(let count): request.reply(self.take(count, size: size))
        case .failure(let reason): request.fail(reason.errno)
        }
      }
    }
    region.parking.register(wait)
    request.reportInterrupt(as: wait.token)
    parked.put(request)
    wait.park { try region.park(wait) }
  }

  private func take(_ count: UInt64, size: Int) -> [UInt8] {
    let line = Array("\(count)\n".utf8)
    if line.count <= size { return line }
    leftover.withLock { $0 += line[size...] }
    return Array(line[..<size])
  }

  override func write(
    _ request: consuming Request<Answer.Count>, offset: UInt64, bytes: UnsafeRawBufferPointer,
    flags: OpenFlags
  ) {
    guard bytes.count <= Self.maximumLength else { return request.fail(.invalidArgument) }
    let text = unsafe String(decoding: bytes, as: UTF8.self)
    let words = text.split(whereSeparator: \.isWhitespace)
    guard words.count == 1 else { return request.fail(.invalidArgument) }
    do throws(Errno) {
      switch words[0] {
      case "inject", "1": try region.inject(from: end)
      case "enable": try region.enableSignal(end)
      case "disable": try region.disableSignal(end)
      default: throw .invalidArgument
      }
    } catch {
      return request.fail(error)
    }
    request.reply(bytes.count)
  }

  override func poll(
    _ request: consuming Request<Answer.Readiness>, events: PollEvents,
    pollHandle: consuming PollHandle?
  ) {
    pollers.rearm(pollHandle)
    guard let isReadable = try? region.isReadable(reader) else {
      return request.reply([.readable, .writable])
    }
    var result = PollEvents.writable
    if isReadable || leftover.withLock({ !$0.isEmpty }) { result.insert(.readable) }
    request.reply(result)
  }

  override func close() {
    region.close(reader)
    region.endUse()
  }
}
