// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocProtocol

/// The memory itself, for those who come without a mapping, and what is to be told of a region.
extension Region {
  /// Writes into the memory, whose size that fixes. EPERM past the end, as for a sealed memfd:
  /// then nothing is written.
  package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    let memory = try sealedMemory()
    let size = UInt64(memory.geometry.size)
    guard offset <= size, UInt64(bytes.count) <= size - offset else { throw .notPermitted }
    guard let source = bytes.baseAddress else { return }
    unsafe (memory.window.base + Int(offset)).copyMemory(from: source, byteCount: bytes.count)
    try check(memory)
  }

  /// EIO if a copy has found a page that cannot be had.
  func check(_ memory: RegionMemory) throws(Errno) {
    guard memory.isBroken else { return }
    reportBrokenMemory()
    throw .ioError
  }

  /// Hands out the memory from `offset` on, `size` bytes or as many as there are. If it throws after that,
  /// they are not what the memory holds.
  package func read(
    at offset: UInt64, size: Int, _ body: (UnsafeRawBufferPointer) -> Void
  ) throws(Errno) {
    let memory = try sealedMemory()
    let start = min(offset, UInt64(memory.geometry.size))
    let count = min(UInt64(size), UInt64(memory.geometry.size) - start)
    unsafe body(
      UnsafeRawBufferPointer(start: memory.window.base + Int(start), count: Int(count)))
    try check(memory)
  }

  /// What one end looks like at the moment. Of a region that nobody has used yet, the state of the
  /// engines is that of fresh memory; of one that nobody uses now, it is what its file says.
  package func snapshot(of end: End) -> EndSnapshot {
    let life = life.withLock { life in
      // What is from before this process has a past, although nobody has needed its file yet.
      if storage.files.wasFound(name) { _ = try? self.file(&life) }
      return life
    }
    return state.withLock { state in
      let engines: EngineSnapshot =
        if let memory = state.memory, !memory.isBroken {
          EngineSnapshot(memory.window, life.configuration.geometry, end)
        } else if let file = life.file {
          EngineSnapshot.of(file, life.configuration.geometry, end)
        } else {
          EngineSnapshot()
        }
      return EndSnapshot(
        configuration: life.configuration,
        engines: engines,
        signalCount: state[end].signalCount,
        doorbellReaders: state[end].doorbellReaders.count,
        signalReaders: state[end].signalReaders.count,
        blockedWriters: state[end.peer].blockedWrites.count,
        sleepers: state.sleepers.buckets.values.reduce(0) { $0 + $1.waits.count },
        users: life.users)
    }
  }
}

/// What the two engines hold for one end.
package struct EngineSnapshot: Sendable {
  package private(set) var incomingInterrupt = false
  package private(set) var incomingPosted = 0
  package private(set) var outgoingInterrupt = false
  package private(set) var outgoingPosted = 0
  package private(set) var isSignalEnabled = true
  package private(set) var isSignalPending = false
  package private(set) var isSignalDirty = false

  /// Of fresh memory.
  init() {}

  init(_ window: RegionWindow, _ geometry: RegionGeometry, _ end: End) {
    let incoming = SignalTable(window: window, geometry: geometry.outgoing(of: end.peer))
    let outgoing = SignalTable(window: window, geometry: geometry.outgoing(of: end))
    let signal = ShmSignal(window: window, geometry: geometry)
    incomingInterrupt = incoming.isInterruptRaised
    incomingPosted = incoming.postedCount
    outgoingInterrupt = outgoing.isInterruptRaised
    outgoingPosted = outgoing.postedCount
    isSignalEnabled = signal.isEnabled(end)
    isSignalPending = signal.isPending(end)
    isSignalDirty = signal.isDirty(end)
  }

  /// Of memory that is not mapped; fresh if it cannot be read.
  static func of(_ file: RegionFile, _ geometry: RegionGeometry, _ end: End) -> EngineSnapshot {
    guard var bytes = try? file.head(Int(geometry.dataOffset)) else { return EngineSnapshot() }
    return unsafe bytes.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return EngineSnapshot() }
      return EngineSnapshot(
        unsafe RegionWindow(base: base, size: geometry.dataOffset), geometry, end)
    }
  }
}

/// One end of a region at a moment: what `info` tells.
package struct EndSnapshot: Sendable {
  package let configuration: RegionConfiguration
  package let engines: EngineSnapshot
  package let signalCount: UInt64
  package let doorbellReaders: Int
  package let signalReaders: Int
  package let blockedWriters: Int
  package let sleepers: Int
  package let users: Int
}
