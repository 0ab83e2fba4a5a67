// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import LinuxSystem
internal import SystemPackage
internal import VsocConfiguration

/// The right to use a store, which one process has at a time: a lock that the kernel releases when
/// the process ends, however it ends.
struct StoreLock: ~Copyable, Sendable {
  static let name = "lock"

  private let file: Descriptor

  /// Takes the lock. Whoever has it may be about to end, as its mount has just been unmounted: it
  /// is given until `deadline` to do so.
  init(
    in directory: borrowing Directory, until deadline: MonotonicInstant
  ) throws(ConfigurationError) {
    let file = try Self.file(in: directory)
    var waitedFor: [Int32] = []
    while true {
      let isMine = try directory.attempt(on: Self.name) { () throws(Errno) in try file.lock() }
      if isMine { break }
      let holders = Self.holders(file)
      guard !holders.isEmpty, holders != waitedFor,
        holders.allSatisfy({ Self.wait(for: $0, until: deadline) })
      else {
        throw directory.failure(Self.name, Self.problem(Self.holders(file)))
      }
      waitedFor = holders
    }
    self.file = file
  }

  /// The lock file. It is made only where a store is, or nothing.
  private static func file(
    in directory: borrowing Directory
  ) throws(ConfigurationError) -> Descriptor {
    if let file = try directory.file(name) { return file }
    let names = try directory.foundNames()
    if let first = names.first, !names.contains(StoreIdentity.name) {
      throw StoreIdentity.foreign(first, in: directory)
    }
    do throws(Errno) {
      return try directory.create(name)
    } catch .fileExists {
      // Somebody else begins with this store at the same moment.
      if let file = try directory.file(name) { return file }
      throw directory.failure(name, "is being replaced")
    } catch {
      throw directory.failure(name, "\(error)")
    }
  }

  // MARK: - Who has it

  /// Whether anything stands in the file. Only what is a store has got that far.
  var isAnnounced: Bool {
    get throws(Errno) { try file.status().size > 0 }
  }

  /// Says in the file who has the lock, for those who would like to.
  func announce() throws(Errno) {
    try file.truncate(to: 0)
    try file.write(Array("\(getpid())\n".utf8), at: 0)
  }

  /// Lets a process have the lock as well, which gets a copy of the file from `keeper`.
  func share(with keeper: any DescriptorKeeper, process: Int32) throws(Errno) {
    try file.write(Array("\(getpid())\n\(process)\n".utf8), at: 0)
    keeper.keep(file.raw)
  }

  func withFile(_ body: (Int32) throws(Errno) -> Void) throws(Errno) { try body(file.raw) }

  private static func holders(_ file: borrowing Descriptor) -> [Int32] {
    guard let bytes = try? file.read(32, at: 0), bytes.last == UInt8(ascii: "\n") else { return [] }
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    let holders = lines.compactMap { Int32($0) }
    return holders.count == lines.count && holders.allSatisfy { $0 > 0 } ? holders : []
  }

  /// Whether the process has ended.
  private static func wait(for process: Int32, until deadline: MonotonicInstant) -> Bool {
    do throws(Errno) {
      let end = try ProcessEnd(of: process)
      return end.wait(until: deadline)
    } catch {
      return error == .noSuchProcess
    }
  }

  private static func problem(_ holders: [Int32]) -> String {
    // The text is that of the last who got so far as to write it.
    guard let holder = holders.first(where: { kill($0, 0) == 0 || errno == EPERM }) else {
      return "another process uses the store"
    }
    return "process \(holder) uses the store"
  }
}
