// SPDX-License-Identifier: Apache-2.0

internal import CFuse3
internal import CFuseIO
internal import Glibc
package import SystemPackage

/// What a request is answered with if it succeeds: markers for `Request`.
package enum Answer {
  package enum Entry {}
  package enum Attributes {}
  package enum Nothing {}
  package enum Opened {}
  package enum Bytes {}
  package enum Count {}
  package enum Statistics {}
  package enum Control {}
  package enum Readiness {}
}

/// What stat(2) tells of a file.
package struct NodeAttributes: Hashable, Sendable {
  package var inode: UInt64
  /// Type and permission bits.
  package var mode: UInt32
  package var links: UInt32 = 1
  package var uid: UInt32
  package var gid: UInt32
  package var size: UInt64 = 0
  /// Blocks of 512 bytes.
  package var blocks: UInt64 = 0
  /// Seconds since the epoch, for all times.
  package var time: Int64 = 0

  package init(inode: UInt64, mode: UInt32, uid: UInt32, gid: UInt32) {
    self.inode = inode
    self.mode = mode
    self.uid = uid
    self.gid = gid
  }

  var stat: stat {
    var result = Glibc.stat()
    result.st_ino = UInt(inode)
    result.st_mode = mode
    result.st_nlink = UInt(links)
    result.st_uid = uid
    result.st_gid = gid
    result.st_size = Int(size)
    result.st_blocks = Int(blocks)
    result.st_blksize = 4096
    let time = timespec(tv_sec: Int(self.time), tv_nsec: 0)
    result.st_atim = time
    result.st_mtim = time
    result.st_ctim = time
    return result
  }
}

extension Request where Answer == FuseSession.Answer.Entry {
  /// - Parameters:
  ///   - node: the id by which the kernel names the file from now on, until it forgets it.
  ///   - entryTimeout: seconds for which the kernel may keep the name.
  /// - Returns: false if the caller is gone: then the kernel does not know the node by this lookup.
  @discardableResult
  package consuming func reply(
    node: UInt64, _ attributes: NodeAttributes, entryTimeout: Double
  ) -> Bool {
    var entry = fuse_entry_param()
    entry.ino = node
    entry.attr = attributes.stat
    entry.attr_timeout = 0
    entry.entry_timeout = entryTimeout
    let raw = unsafe finish()
    return unsafe fuse_reply_entry(raw, &entry) == 0
  }
}

extension Request where Answer == FuseSession.Answer.Attributes {
  /// Attributes are not kept by the kernel: access control rests on them, and one end's files share
  /// theirs, so that each look at them asks.
  package consuming func reply(_ attributes: NodeAttributes) {
    var stat = attributes.stat
    let raw = unsafe finish()
    unsafe fuse_reply_attr(raw, &stat, 0)
  }
}

extension Request where Answer == FuseSession.Answer.Nothing {
  package consuming func reply() {
    let raw = unsafe finish()
    unsafe fuse_reply_err(raw, 0)
  }
}

/// How an open file behaves; see the FOPEN_ flags of the FUSE protocol.
package struct OpenOptions: OptionSet, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }

  private init(_ flag: Int) { self.init(rawValue: UInt32(flag)) }

  /// Reads and writes come here, none is served from the page cache.
  package static let directIO = OpenOptions(Int(VSOCFS_FOPEN_DIRECT_IO))
  /// No file position: no seeking, and no lock on the position between a read and a write.
  package static let stream = OpenOptions(Int(VSOCFS_FOPEN_NONSEEKABLE | VSOCFS_FOPEN_STREAM))
  /// A write that waits here does not keep others out.
  package static let parallelWrites = OpenOptions(Int(VSOCFS_FOPEN_PARALLEL_DIRECT_WRITES))
  /// A close does not wait for writes of others, as it does for their lock before Linux 6.16.
  package static let noFlush = OpenOptions(Int(VSOCFS_FOPEN_NOFLUSH))
}

extension Request where Answer == FuseSession.Answer.Opened {
  /// - Returns: false if the caller is gone: then no release of the handle will come.
  package consuming func reply(handle: UInt64, _ options: OpenOptions) -> Bool {
    reply(handle, options.rawValue, 0)
  }

  /// Reads, writes and mappings of the file go to the backing file, without the daemon.
  package consuming func reply(handle: UInt64, backing: borrowing BackingFile) -> Bool {
    reply(handle, UInt32(VSOCFS_FOPEN_PASSTHROUGH), backing.id)
  }

  /// As before, but only mappings: reads and writes come here. The kernel takes few other options
  /// with it; a close is not told before the last one.
  package consuming func reply(handle: UInt64, mappingsOf backing: borrowing BackingFile) -> Bool {
    let flags =
      VSOCFS_FOPEN_PASSTHROUGH | VSOCFS_FOPEN_DIRECT_IO | VSOCFS_FOPEN_NOFLUSH
    return reply(handle, UInt32(flags), backing.id)
  }

  /// The kernel's page cache is the memory of the file; what it does not have it reads from
  /// `descriptor`, and what was changed it writes back there, without the file system.
  ///
  /// - Parameter descriptor: open until the handle is released.
  package consuming func reply(handle: UInt64, pagesOf descriptor: Int32) -> Bool {
    let paged = vsocfs_fuse_paged_handle(handle, descriptor)
    guard paged != 0 else {
      fail(.tooManyOpenFilesInSystem)
      return false
    }
    return reply(paged, UInt32(VSOCFS_FOPEN_KEEP_CACHE | VSOCFS_FOPEN_NOFLUSH), 0)
  }

  private consuming func reply(_ handle: UInt64, _ flags: UInt32, _ backing: Int32) -> Bool {
    var out = vsocfs_fuse_open_out(fh: handle, open_flags: flags, backing_id: backing)
    let raw = unsafe finish()
    let length = MemoryLayout<vsocfs_fuse_open_out>.size
    return unsafe withUnsafeBytes(of: &out) { bytes in
      unsafe fuse_reply_buf(
        raw, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), length) == 0
    }
  }
}

extension Request where Answer == FuseSession.Answer.Bytes {
  package consuming func reply(_ bytes: [UInt8]) { reply(bytes[...]) }

  /// Answers with a part of what others read as well, which is copied on the way to the caller.
  package consuming func reply(_ bytes: ArraySlice<UInt8>) {
    let raw = unsafe finish()
    unsafe bytes.withUnsafeBytes { bytes in
      _ = unsafe fuse_reply_buf(
        raw, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
    }
  }

  /// Answers with memory that is copied on the way to the caller.
  package consuming func reply(copying bytes: UnsafeRawBufferPointer) {
    let raw = unsafe finish()
    _ = unsafe fuse_reply_buf(
      raw, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
  }
}

extension Request where Answer == FuseSession.Answer.Count {
  /// - Parameter count: bytes written.
  package consuming func reply(_ count: Int) {
    let raw = unsafe finish()
    unsafe fuse_reply_write(raw, count)
  }
}

/// What statfs(2) tells.
package struct FileSystemStatistics: Hashable, Sendable {
  package var blockSize: UInt64
  package var blocks: UInt64
  package var freeBlocks: UInt64
  package var files: UInt64
  package var nameLength: UInt64

  package init(
    blockSize: UInt64, blocks: UInt64, freeBlocks: UInt64, files: UInt64, nameLength: UInt64
  ) {
    self.blockSize = blockSize
    self.blocks = blocks
    self.freeBlocks = freeBlocks
    self.files = files
    self.nameLength = nameLength
  }
}

extension Request where Answer == FuseSession.Answer.Statistics {
  package consuming func reply(_ statistics: FileSystemStatistics) {
    var result = statvfs()
    result.f_bsize = UInt(statistics.blockSize)
    result.f_frsize = UInt(statistics.blockSize)
    result.f_blocks = UInt(statistics.blocks)
    result.f_bfree = UInt(statistics.freeBlocks)
    result.f_bavail = UInt(statistics.freeBlocks)
    result.f_files = UInt(statistics.files)
    result.f_namemax = UInt(statistics.nameLength)
    let raw = unsafe finish()
    unsafe fuse_reply_statfs(raw, &result)
  }
}

extension Request where Answer == FuseSession.Answer.Control {
  /// Answers an ioctl(2) with a return value and the bytes that the caller's argument gets.
  package consuming func reply(_ result: Int32 = 0, output: [UInt8] = []) {
    let raw = unsafe finish()
    unsafe output.withUnsafeBytes { bytes in
      _ = unsafe fuse_reply_ioctl(raw, result, bytes.baseAddress, bytes.count)
    }
  }

  /// Fails, and writes the caller's argument all the same: an error reply would not.
  package consuming func fail(_ error: Errno, output: [UInt8]) {
    reply(-error.rawValue, output: output)
  }
}

/// Which of poll(2)'s events hold.
package struct PollEvents: OptionSet, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }

  package static let readable = PollEvents(rawValue: UInt32(POLLIN) | UInt32(POLLRDNORM))
  package static let writable = PollEvents(rawValue: UInt32(POLLOUT) | UInt32(POLLWRNORM))

  /// What poll(2) asks for: POLLIN without its synonym POLLRDNORM.
  package static let input = PollEvents(rawValue: UInt32(POLLIN))
  package static let hangUp = PollEvents(rawValue: UInt32(POLLHUP))

  /// Whether any event of writability is asked for.
  package var asksForWritability: Bool { !isDisjoint(with: .writable) }
}

extension Request where Answer == FuseSession.Answer.Readiness {
  package consuming func reply(_ events: PollEvents) {
    let raw = unsafe finish()
    unsafe fuse_reply_poll(raw, events.rawValue)
  }
}
