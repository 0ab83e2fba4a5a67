// SPDX-License-Identifier: Apache-2.0

internal import CFuse3
internal import Glibc

extension Request where Answer == FuseSession.Answer.Bytes {
  /// Answers a readdir with as many of the entries as fit.
  package consuming func reply(entries: ArraySlice<DirectoryEntry>, size: Int) {
    let bytes = unsafe packed(entries, size: size, for: raw)
    let raw = unsafe finish()
    unsafe fuse_reply_buf(raw, bytes, bytes.count)
  }
}

/// More than a reader gets at a time, whatever room it has: what is not there it asks for next.
private let maximumSize = 1 << 20

private func packed(
  _ entries: ArraySlice<DirectoryEntry>, size: Int, for raw: fuse_req_t
) -> [CChar] {
  let size = min(size, maximumSize)
  // One byte at least, so that there is an address.
  var bytes = [CChar](repeating: 0, count: max(size, 1))
  var used = 0
  for entry in entries {
    var attributes = stat()
    attributes.st_ino = UInt(entry.inode)
    attributes.st_mode = entry.mode
    let room = size - used
    let needed = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
      unsafe fuse_add_direntry(
        raw, buffer.baseAddress! + used, room, entry.name, &attributes, off_t(entry.nextOffset))
    }
    guard needed <= room else { break }
    used += needed
  }
  return Array(bytes.prefix(used))
}
