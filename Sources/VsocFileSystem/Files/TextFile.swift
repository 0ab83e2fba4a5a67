// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import LinuxSystem

/// A read-only file of text, as it was when it was opened.
final class TextFile: OpenFile, @unchecked Sendable {
  private let bytes: [UInt8]
  /// The region whose use this is, if it tells of one.
  private let onClose: (@Sendable () -> Void)?

  init(_ text: String, onClose: (@Sendable () -> Void)? = nil) {
    bytes = Array(text.utf8)
    self.onClose = onClose
  }

  override func read(
    _ request: consuming Request<Answer.Bytes>, offset: UInt64, size: Int, flags: OpenFlags
  ) {
    let start = Int(min(offset, UInt64(bytes.count)))
    request.reply(Array(bytes[start...].prefix(size)))
  }

  override func close() { onClose?() }
}

/// A directory. A reader that goes back to the start sees it as it is then.
final class OpenDirectory: OpenFile, @unchecked Sendable {
  private let fileSystem: VsocFileSystem
  private let node: Node
  private let listing: Lock<[DirectoryEntry]>

  init(_ node: Node, _ fileSystem: VsocFileSystem) {
    self.node = node
    self.fileSystem = fileSystem
    listing = Lock(fileSystem.entries(of: node))
  }

  override func readDirectory(
    _ request: consuming Request<Answer.Bytes>, offset: UInt64, size: Int
  ) {
    let fresh = offset == 0 ? fileSystem.entries(of: node) : nil
    let entries = listing.withLock { listing in
      if let fresh { listing = fresh }
      return listing
    }
    request.reply(
      entries: Array(entries.dropFirst(Int(min(offset, UInt64(entries.count))))), size: size)
  }
}
