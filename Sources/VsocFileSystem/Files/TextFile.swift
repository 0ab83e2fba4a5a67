// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem
internal import VsocEngine

/// A read-only file of text, as it was when it was opened.
final class TextFile: OpenFile, @unchecked Sendable {
  private let text: SharedVersion<[UInt8]>
  /// The region whose use this is, if it tells of one.
  private let onClose: (@Sendable () -> Void)?

  init(_ text: SharedVersion<[UInt8]>, onClose: (@Sendable () -> Void)? = nil) {
    self.text = text
    self.onClose = onClose
  }

  convenience init(_ text: String, onClose: (@Sendable () -> Void)? = nil) {
    self.init(SharedVersion(Array(text.utf8)), onClose: onClose)
  }

  override var mayBeReadForPages: Bool { true }

  override func read(
    _ request: consuming Request<Answer.Bytes>, offset: UInt64, size: Int, flags: OpenFlags
  ) {
    let bytes = text.value
    let start = Int(min(offset, UInt64(bytes.count)))
    let end = start + min(size, bytes.count - start)
    request.reply(bytes[start..<end])
  }

  override func close() { onClose?() }
}
