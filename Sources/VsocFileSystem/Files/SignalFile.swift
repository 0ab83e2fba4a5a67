// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// An open `signal`.
final class SignalFile: StreamFile, @unchecked Sendable {
  /// Longer text is none of the commands.
  private static let maximumLength = 64

  private let reader: SignalReader

  init(_ region: Region, _ end: End) {
    let pollers = PollState()
    reader = region.openSignal(end, observer: pollers)
    super.init(region, end, pollers)
  }

  override func lines(size: Int) throws(Errno) -> [UInt8]? {
    try region.read(reader).map(Self.line)
  }

  override func wait(
    size: Int, _ completion: @escaping @Sendable (Result<[UInt8], Abandonment>) -> Void
  ) -> Waiter? {
    SignalRead(reader) { completion($0.map(Self.line)) }
  }

  private static func line(_ count: UInt64) -> [UInt8] { Array("\(count)\n".utf8) }

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
    if hasMore(request, events) || isReadable { result.insert(.readable) }
    request.reply(result)
  }

  override func close() {
    region.close(reader)
    region.endUse()
  }
}
