// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocConfiguration
import VsocEngine
import VsocProtocol

@testable import VsocStore

/// Files for areas while the store is in use.
@Suite struct AreaTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func access(_ file: RegionFile) -> Int32 {
    fcntl(file.descriptor.raw, F_GETFL) & O_ACCMODE
  }

  @Test func `a file for each, which is gone with who keeps it`() throws {
    let store = try scratch.open()
    var files = try (0..<3).map { try store.makeArea(isBacking: $0 == 1) }
    #expect(scratch.names("areas") == ["1", "2", "3"])
    #expect(files.map(\.number) == [1, 2, 3] && files.allSatisfy { $0.kind == .stored })
    #expect(files.map(access) == [O_RDWR, O_RDONLY, O_RDWR])
    for file in files {
      let status = try file.descriptor.status()
      #expect(status.size == 0 && status.isRegular && status.mode == 0o600)
    }
    files.remove(at: 1)
    #expect(scratch.names("areas") == ["1", "3"])
    // A number is not used twice.
    #expect(try store.makeArea(isBacking: true).number == 4)
    files = []
    #expect(scratch.names("areas") == [])
  }

  @Test func `who keeps a file has the store`() throws {
    var file: RegionFile?
    do {
      let store = try scratch.open()
      file = try store.makeArea(isBacking: false)
    }
    #expect(scratch.refusal() == "lock: process \(getpid()) uses the store")
    #expect(file?.number == 1)
    file = nil
    #expect(scratch.refusal() == nil && scratch.names("areas") == [])
  }

  /// F_SETLEASE, which the Glibc module does not have.
  private static let setLease: Int32 = 1024

  /// A read lease is granted while nobody has the file open for writing.
  @Test func `the writers of a backing file can be told`() throws {
    let store = try scratch.open()
    let file = try store.makeArea(isBacking: true)
    let raw = file.descriptor.raw
    func hasWriters() -> Bool? {
      guard fcntl(raw, Self.setLease, Int32(F_RDLCK)) != 0 else {
        #expect(fcntl(raw, Self.setLease, Int32(F_UNLCK)) == 0)
        return false
      }
      return errno == EAGAIN ? true : nil
    }
    #expect(hasWriters() == false)
    do {
      let writer = Descriptor(owning: unsafe open("/proc/self/fd/\(raw)", O_RDWR | O_CLOEXEC))
      try writer.allocate(8192)
      #expect(hasWriters() == true)
    }
    #expect(hasWriters() == false)
    #expect(try file.descriptor.status().size == 8192)
  }

  @Test func `files of areas are not those of the start before`() throws {
    _ = try scratch.open()
    for number in [1, 2, 700] { try scratch.write("areas/\(number)", "left over") }
    let store = try scratch.open()
    #expect(scratch.names("areas") == [])
    let file = try store.makeArea(isBacking: true)
    #expect(try file.descriptor.status().size == 0)
  }

  @Test func `many at once`() throws {
    let store = try scratch.open()
    let numbers = Monitor<[UInt64]>([])
    for _ in 0..<4 {
      try Thread.start(name: "claimer") {
        for _ in 0..<100 {
          guard let file = try? store.makeArea(isBacking: true) else { continue }
          guard let slot = try? store.record(record(word: 8192, 1, area: file.number)) else {
            continue
          }
          try? store.markFilled(slot)
          try? store.forget(slot)
          numbers.withLock { $0.append(file.number) }
        }
      }
    }
    let all = numbers.wait(until: .after(seconds: 30)) { $0.count == 400 ? $0 : nil }
    #expect(all.map { Set($0) } == Set(1...400))
    // The last file of each may be kept for a moment yet.
    let deadline = MonotonicInstant.after(seconds: 30)
    while scratch.names("areas") != [] && MonotonicInstant.now < deadline { usleep(1000) }
    #expect(scratch.names("areas") == [])
    #expect(PermissionJournal.entries(in: try scratch.bytes("permissions")) == [])
  }
}
