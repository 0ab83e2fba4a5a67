// SPDX-License-Identifier: Apache-2.0

internal import Glibc
package import LinuxSystem
package import SystemPackage
internal import VsocProtocol

/// The file that holds a region's bytes: a memfd, or a file that outlives the daemon.
///
/// Safe to use from any thread. It stays open for as long as somebody keeps it, whatever has become
/// of the region.
package final class RegionFile: Sendable {
  package enum Kind: Hashable, Sendable {
    /// Its size can be sealed: then nobody who has the descriptor can change it.
    case memory
    /// A file of a file system. Whoever may write to it can make it longer.
    case stored
  }

  package let kind: Kind
  package let descriptor: Descriptor
  /// Whether that is for reading only, so that it is no writer (`hasLostItsWriters`).
  let isReadOnly: Bool
  /// Which it is of the files of areas, if it is one.
  package let number: UInt64
  private let onClose: (@Sendable () -> Void)?
  /// Who has a copy of the descriptor.
  private let keeper = Lock<(any DescriptorKeeper)?>(nil)

  /// - Parameter onClose: called when nobody keeps it any more.
  package init(
    _ descriptor: consuming Descriptor, kind: Kind, isReadOnly: Bool = false, number: UInt64 = 0,
    onClose: (@Sendable () -> Void)? = nil
  ) {
    self.descriptor = descriptor
    self.kind = kind
    self.isReadOnly = isReadOnly
    self.number = number
    self.onClose = onClose
  }

  deinit {
    keeper.withLock { $0 }?.drop(descriptor.raw)
    onClose?()
  }

  /// Lets somebody keep a copy of the descriptor, for as long as this lives.
  package func share(with keeper: any DescriptorKeeper) {
    self.keeper.withLock { known in
      guard known == nil else { return }
      keeper.keep(descriptor.raw)
      known = keeper
    }
  }

  /// Whether a client that got the descriptor's place in the kernel (FUSE passthrough) could make
  /// the file longer by writing behind its end.
  package var canBeGrownByWriters: Bool { kind == .stored }

  /// Fixes the size for good, where that is possible.
  func fixSize() throws(Errno) {
    let fd = descriptor.raw
    if kind == .memory { try SharedMemoryFile.sealSize(of: fd) }
  }

  /// Changes the size of memory that nobody maps, and tells the readers of its header. The rest of
  /// what it holds stays.
  func resize(to header: RegionHeader) throws(Errno) {
    guard ftruncate(descriptor.raw, off_t(header.geometry.size)) == 0 else {
      throw Errno(rawValue: errno)
    }
    try write(header.layoutBytes, at: 0)
  }

  /// Writes the header and the initial state of the engines into memory that is all zeros.
  func initialize(_ header: RegionHeader) throws(Errno) {
    try write(header.layoutBytes, at: 0)
    try write(header.signalBytes, at: Int(header.geometry.shmSignalOffset))
  }

  private func write(_ bytes: [UInt8], at offset: Int) throws(Errno) {
    let count = unsafe bytes.withUnsafeBytes { bytes in
      unsafe pwrite(descriptor.raw, bytes.baseAddress, bytes.count, off_t(offset))
    }
    guard count == bytes.count else { throw count < 0 ? Errno(rawValue: errno) : .ioError }
  }

  /// Brings what clients have written to the disk, if there is one (fdatasync(2)).
  package func synchronize() throws(Errno) {
    guard kind == .stored else { return }
    guard fdatasync(descriptor.raw) == 0 else { throw Errno(rawValue: errno) }
  }

  /// The first `count` bytes as they are now.
  func head(_ count: Int) throws(Errno) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let read = unsafe bytes.withUnsafeMutableBytes { bytes in
      unsafe pread(descriptor.raw, bytes.baseAddress, bytes.count, 0)
    }
    guard read == count else { throw read < 0 ? Errno(rawValue: errno) : .ioError }
    return bytes
  }
}
