// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing

/// Memory of files whose pages others take away.
@Suite struct SharedMappingTests {
  private let pages = 4

  private func memory(_ pages: Int) throws -> Descriptor {
    try SharedMemoryFile(name: "test", size: pages * 4096).takeDescriptor()
  }

  @Test func `A page that is gone reads as zeros, and the mapping is broken`() throws {
    let file = try memory(pages)
    let mapping = try SharedMapping(descriptor: file.raw, size: pages * 4096)
    let second = try memory(1)
    let other = try SharedMapping(descriptor: second.raw, size: 4096)
    unsafe mapping.base.storeBytes(of: 7, as: UInt32.self)
    unsafe (mapping.base + 2 * 4096).storeBytes(of: 7, as: UInt32.self)
    try file.truncate(to: 4096)
    #expect(!mapping.isBroken)
    #expect(unsafe (mapping.base + 2 * 4096).load(as: UInt32.self) == 0)
    #expect(mapping.isBroken && !other.isBroken)
    // The rest is as it was, and what is stored there is not in the file.
    #expect(unsafe mapping.base.load(as: UInt32.self) == 7)
    unsafe (mapping.base + 2 * 4096).storeBytes(of: 9, as: UInt32.self)
    try file.truncate(to: UInt64(pages * 4096))
    #expect(try file.read(4, at: 2 * 4096) == [0, 0, 0, 0])
    // Mapped anew it is whole.
    let fresh = try SharedMapping(descriptor: file.raw, size: pages * 4096)
    #expect(unsafe (fresh.base + 2 * 4096).load(as: UInt32.self) == 0)
    #expect(!fresh.isBroken)
  }

  @Test func `A part that is watched breaks by itself`() throws {
    let file = try memory(pages)
    let area = try memory(1)
    let mapping = try SharedMapping(descriptor: file.raw, size: pages * 4096)
    try mapping.map(area, at: 0, over: 4096..<8192, isWritable: true)
    var part: MappedPart? = try MappedPart(of: mapping, 4096..<8192)
    try area.truncate(to: 0)
    #expect(unsafe (mapping.base + 4096).load(as: UInt32.self) == 0)
    #expect(part?.isBroken == true && !mapping.isBroken)
    part = nil
    try mapping.map(area, at: 0, over: 4096..<8192, isWritable: true)
    #expect(unsafe (mapping.base + 4096).load(as: UInt32.self) == 0)
    #expect(mapping.isBroken)
  }

  /// Copies, and threads of ours, in which all other signals are blocked.
  @Test func `Threads survive it, many at a time, while mappings come and go`() throws {
    let done = Monitor(0)
    for number in 0..<8 {
      try Thread.start(name: "toucher") {
        for _ in 0..<50 {
          guard let file = try? memory(16),
            let mapping = try? SharedMapping(descriptor: file.raw, size: 16 * 4096)
          else { return }
          try? file.truncate(to: UInt64(number) * 4096)
          let copy = unsafe [UInt8](
            UnsafeRawBufferPointer(start: mapping.base, count: 16 * 4096))
          guard mapping.isBroken, copy.allSatisfy({ $0 == 0 }) else { return }
        }
        done.withLock { $0 += 1 }
      }
    }
    let all = done.wait(until: .after(seconds: 30)) { $0 == 8 ? true : nil }
    #expect(all == true)
  }

  @Test func `A page beyond the end is told without touching it`() throws {
    let file = try memory(2)
    #expect(try file.hasPage(at: 4096) && file.hasPage(at: 8191))
    #expect(try !file.hasPage(at: 8192))
    try file.truncate(to: 0)
    #expect(try !file.hasPage(at: 0))
  }

  @Test func `Writers of memory are told: descriptors and mappings`() throws {
    let memory = try memory(1)
    let file = try memory.reopen(forWriting: false)
    #expect(try file.hasNoWriters())
    var mapping: SharedMapping?
    do {
      let writer = try file.reopen(forWriting: true)
      #expect(try !file.hasNoWriters())
      mapping = try SharedMapping(descriptor: writer.raw, size: 4096)
    }
    #expect(try !file.hasNoWriters())
    mapping = nil
    #expect(try file.hasNoWriters())
    withExtendedLifetime(mapping) {}
  }

  @Test func `Releases of the kernel are compared by number`() {
    #expect(KernelRelease("6.1.0-30-amd64") == KernelRelease(6, 1))
    #expect(KernelRelease("6.18.44-fc-v857") == KernelRelease(6, 18))
    #expect(KernelRelease("7.0-rc1") == KernelRelease(7, 0))
    #expect(KernelRelease("6.9")! < KernelRelease(6, 16))
    #expect(KernelRelease(6, 16) < KernelRelease(7, 0))
    #expect(KernelRelease("") == nil && KernelRelease("6") == nil && KernelRelease("a.b") == nil)
    #expect(KernelRelease.current > KernelRelease(5, 0))
  }
}
