// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// What is known of a file by its descriptor (fstat(2)).
package struct FileStatus: Hashable, Sendable {
  package var isRegular: Bool
  package var owner: UInt32
  /// Permission bits.
  package var mode: UInt32
  /// In bytes.
  package var size: UInt64
  /// Bytes on the disk: fewer than the size in a file with holes.
  package var allocated: UInt64
}

/// Descriptors of files of a file system.
extension Descriptor {
  package func status() throws(Errno) -> FileStatus {
    var status = stat()
    try result { unsafe fstat(raw, &status) }
    return FileStatus(
      isRegular: status.st_mode & S_IFMT == S_IFREG, owner: status.st_uid,
      mode: status.st_mode & 0o7777, size: UInt64(status.st_size),
      allocated: UInt64(status.st_blocks) * 512)
  }

  /// Up to `count` bytes from `offset` on; fewer at the end of the file only.
  package func read(_ count: Int, at offset: UInt64) throws(Errno) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      let read = try result {
        unsafe bytes.withUnsafeMutableBytes { bytes in
          unsafe pread(raw, bytes.baseAddress! + done, count - done, off_t(offset) + off_t(done))
        }
      }
      guard read > 0 else { break }
      done += read
    }
    bytes.removeSubrange(done...)
    return bytes
  }

  /// Writes all bytes. If that fails, some of them may be written.
  package func write(_ bytes: [UInt8], at offset: UInt64) throws(Errno) {
    try unsafe bytes.withUnsafeBufferPointer { bytes throws(Errno) in
      try unsafe write(UnsafeRawBufferPointer(bytes), at: offset)
    }
  }

  /// The same with bytes that may change meanwhile.
  package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    var done = 0
    while done < bytes.count {
      done += try result {
        unsafe pwrite(
          raw, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + off_t(done))
      }
    }
  }

  package func truncate(to size: UInt64) throws(Errno) {
    try result { ftruncate(raw, off_t(size)) }
  }

  /// Makes the file at least `size` bytes long, with blocks for all of them: a later store to any
  /// page of a mapping finds room (posix_fallocate(3)).
  package func allocate(_ size: UInt64) throws(Errno) {
    while true {
      let error = posix_fallocate(raw, 0, off_t(size))
      if error == 0 { return }
      guard error == EINTR else { throw Errno(rawValue: error) }
    }
  }

  /// Brings the file to the disk (fsync(2)).
  package func synchronize() throws(Errno) {
    try result { fsync(raw) }
  }

  /// Locks the file for as long as this descriptor, or a copy of it, is open anywhere (flock(2)).
  /// False if somebody else has locked it.
  package func lock() throws(Errno) -> Bool {
    do throws(Errno) {
      try check(retryOnInterrupt: true) { vsocfs_lock_file(raw) }
      return true
    } catch .wouldBlock {
      return false
    }
  }
}

/// The result of a call that returns -1 and sets errno; repeated if a signal interrupted it.
@discardableResult
func result<Value: SignedInteger>(of call: () -> Value) throws(Errno) -> Value {
  while true {
    let value = call()
    if value >= 0 { return value }
    let error = Errno(rawValue: errno)
    guard error == .interrupted else { throw error }
  }
}
