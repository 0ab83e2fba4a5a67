// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// `fuse_init_out`.
package struct FuseInitReply: Hashable, Sendable {
  package var major, minor, maxReadahead, flags, maxWrite, flags2, maxStackDepth: UInt32

  init(_ bytes: [UInt8]) throws {
    var reader = WireReader(bytes)
    major = try reader.u32()
    minor = try reader.u32()
    maxReadahead = try reader.u32()
    flags = try reader.u32()
    try reader.skip(4)
    maxWrite = try reader.u32()
    try reader.skip(8)
    flags2 = try reader.u32()
    maxStackDepth = try reader.u32()
  }

  /// Whether the daemon wants to hand out backing files.
  package var wantsPassthrough: Bool {
    flags & FuseABI.extendedFlag != 0 && flags2 & FuseABI.passthroughFlag2 != 0
  }
}

/// `fuse_attr`.
package struct FuseAttributes: Hashable, Sendable {
  package var inode, size, blocks: UInt64
  package var accessSeconds, modificationSeconds, changeSeconds: UInt64
  /// Type and permissions.
  package var mode, links, uid, gid, blockSize: UInt32

  init(_ reader: inout WireReader) throws {
    inode = try reader.u64()
    size = try reader.u64()
    blocks = try reader.u64()
    accessSeconds = try reader.u64()
    modificationSeconds = try reader.u64()
    changeSeconds = try reader.u64()
    try reader.skip(12)
    mode = try reader.u32()
    links = try reader.u32()
    uid = try reader.u32()
    gid = try reader.u32()
    try reader.skip(4)
    blockSize = try reader.u32()
    try reader.skip(4)
  }

  package var permissions: UInt32 { mode & 0o7777 }
  package var isDirectory: Bool { mode & 0o170000 == 0o040000 }
  package var isRegularFile: Bool { mode & 0o170000 == 0o100000 }
}

/// `fuse_entry_out`.
package struct FuseEntry: Hashable, Sendable {
  package var node, generation: UInt64
  /// How long the kernel may keep the name and the attributes, in seconds, rounded up.
  package var entryValidity, attributeValidity: UInt64
  package var attributes: FuseAttributes

  init(_ bytes: [UInt8]) throws {
    var reader = WireReader(bytes)
    node = try reader.u64()
    generation = try reader.u64()
    let seconds = (try reader.u64(), try reader.u64())
    entryValidity = seconds.0 + (try reader.u32() > 0 ? 1 : 0)
    attributeValidity = seconds.1 + (try reader.u32() > 0 ? 1 : 0)
    attributes = try FuseAttributes(&reader)
  }
}

/// `fuse_open_out`.
package struct FuseOpened: Hashable, Sendable {
  package var handle: UInt64
  /// `FuseABI.open...`.
  package var flags: UInt32
  package var backing: Int32

  package init(handle: UInt64, flags: UInt32, backing: Int32) {
    self.handle = handle
    self.flags = flags
    self.backing = backing
  }

  init(_ bytes: [UInt8]) throws {
    var reader = WireReader(bytes)
    handle = try reader.u64()
    flags = try reader.u32()
    backing = try reader.s32()
  }
}

/// An open file: what the kernel keeps in its `struct file`.
package struct FuseHandle: Hashable, Sendable {
  package var node: UInt64
  package var opened: FuseOpened
  /// O_RDONLY and so on; O_NONBLOCK and O_APPEND go with every read and write.
  package var flags: Int32

  package init(node: UInt64, opened: FuseOpened, flags: Int32) {
    self.node = node
    self.opened = opened
    self.flags = flags
  }

  /// A handle that no open gave.
  package static func invented(
    _ handle: UInt64, node: UInt64 = FuseABI.rootNode, flags: Int32 = O_RDWR
  ) -> FuseHandle {
    FuseHandle(node: node, opened: FuseOpened(handle: handle, flags: 0, backing: 0), flags: flags)
  }
}

/// `fuse_statfs_out`.
package struct FuseStatistics: Hashable, Sendable {
  package var blocks, freeBlocks, availableBlocks, files, freeFiles: UInt64
  package var blockSize, nameLength, fragmentSize: UInt32

  init(_ bytes: [UInt8]) throws {
    var reader = WireReader(bytes)
    blocks = try reader.u64()
    freeBlocks = try reader.u64()
    availableBlocks = try reader.u64()
    files = try reader.u64()
    freeFiles = try reader.u64()
    blockSize = try reader.u32()
    nameLength = try reader.u32()
    fragmentSize = try reader.u32()
  }
}

/// `fuse_dirent` and its name.
package struct FuseDirectoryEntry: Hashable, Sendable {
  package var inode, nextOffset: UInt64
  /// DT_DIR (4), DT_REG (8)...
  package var type: UInt32
  package var name: String

  static func parse(_ bytes: [UInt8]) throws -> [FuseDirectoryEntry] {
    var reader = WireReader(bytes)
    var entries: [FuseDirectoryEntry] = []
    while !reader.isAtEnd {
      let (inode, next) = (try reader.u64(), try reader.u64())
      let (length, type) = (Int(try reader.u32()), try reader.u32())
      let name = String(decoding: try reader.take(length), as: UTF8.self)
      try reader.skip((8 - length % 8) % 8)
      entries.append(
        FuseDirectoryEntry(inode: inode, nextOffset: next, type: type, name: name))
    }
    return entries
  }
}

/// `fuse_ioctl_out` and the argument as it comes back.
package struct FuseIoctlReply: Hashable, Sendable {
  package var result: Int32
  package var data: [UInt8]

  init(_ bytes: [UInt8]) throws {
    var reader = WireReader(bytes)
    result = try reader.s32()
    try reader.skip(12)
    data = reader.remainder()
  }
}
