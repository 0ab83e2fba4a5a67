// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocProtocol

/// The memory itself, for those who come without a mapping, and what is to be told of a region.
extension Region {
  /// Writes into the memory, whose size that fixes. EPERM past the end, as for a sealed memfd:
  /// then nothing is written.
  package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    let memory = try seal()
    let size = UInt64(memory.geometry.size)
    guard offset <= size, UInt64(bytes.count) <= size - offset else { throw .notPermitted }
    guard let source = bytes.baseAddress else { return }
    unsafe (memory.window.base + Int(offset)).copyMemory(from: source, byteCount: bytes.count)
  }

  /// Hands out the memory from `offset` on, `size` bytes or as many as there are.
  package func read(
    at offset: UInt64, size: Int, _ body: (UnsafeRawBufferPointer) -> Void
  ) throws(Errno) {
    let memory = try seal()
    let start = min(offset, UInt64(memory.geometry.size))
    let count = min(UInt64(size), UInt64(memory.geometry.size) - start)
    unsafe body(
      UnsafeRawBufferPointer(start: memory.window.base + Int(start), count: Int(count)))
  }

  /// What one end looks like at the moment. Of a region that nobody has used yet, the state of the
  /// engines is that of fresh memory.
  package func snapshot(of end: End) -> EndSnapshot {
    state.withLock { state in
      let memory = state.memory
      return EndSnapshot(
        configuration: state.configuration,
        incomingInterrupt: memory?.incoming(of: end).isInterruptRaised ?? false,
        incomingPosted: memory?.incoming(of: end).postedCount ?? 0,
        outgoingInterrupt: memory?.outgoing(of: end).isInterruptRaised ?? false,
        outgoingPosted: memory?.outgoing(of: end).postedCount ?? 0,
        isSignalEnabled: memory?.signal.isEnabled(end) ?? true,
        isSignalPending: memory?.signal.isPending(end) ?? false,
        isSignalDirty: memory?.signal.isDirty(end) ?? false,
        signalCount: state[end].signalCount,
        doorbellReaders: state[end].doorbellReaders.count,
        signalReaders: state[end].signalReaders.count,
        blockedWriters: state[end.peer].blockedWrites.count,
        sleepers: state.sleepers.buckets.values.reduce(0) { $0 + $1.waits.count },
        users: state.users)
    }
  }
}

/// One end of a region at a moment: what `info` tells.
package struct EndSnapshot: Sendable {
  package let configuration: RegionConfiguration
  package let incomingInterrupt: Bool
  package let incomingPosted: Int
  package let outgoingInterrupt: Bool
  package let outgoingPosted: Int
  package let isSignalEnabled: Bool
  package let isSignalPending: Bool
  package let isSignalDirty: Bool
  package let signalCount: UInt64
  package let doorbellReaders: Int
  package let signalReaders: Int
  package let blockedWriters: Int
  package let sleepers: Int
  package let users: Int
}
