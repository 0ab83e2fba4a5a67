// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocProtocol

/// COND_WAIT and COND_WAKE (SPEC §5): sleepers by offset, one set with plain futex sleepers.
extension Region {
  /// The errno for an offset that is refused.
  package static func errno(_ error: OffsetError) -> Errno {
    switch error {
    case .misaligned: .addressNotAvailable
    case .outOfRange: .argListTooLong
    }
  }

  /// The word at `offset`, read once.
  ///
  /// - Throws: EADDRNOTAVAIL, E2BIG.
  package func value(at offset: UInt32) throws(Errno) -> UInt32 {
    // Without the lock: if it has to wait for the page, nobody waits for it.
    let memory: RegionMemory
    do throws(Errno) {
      memory = try state.withLock { state throws(Errno) in try self.memory(&state) }
    } catch {
      reportBrokenMemory()
      throw error
    }
    let value: UInt32
    do throws(OffsetError) {
      value = try memory.window.word(at: offset).load()
    } catch { throw Self.errno(error) }
    try check(memory)
    return value
  }

  /// Sleeps while the word has the value. The offset has been checked.
  func park(_ wait: CondWait) throws(Errno) {
    try updateMemory { state, memory, wakes throws(Errno) in
      guard !wait.isClaimed else { return }
      // Those who sleep there for another value are done; the rest sleeps for the present one.
      state.wakeSleepers(at: wait.offset, isCounted: false, memory, &wakes)
      guard let word = try? memory.window.word(at: wait.offset) else { return }
      guard word.load() == wait.value else {
        if wait.claim() { wakes.sleepers.append(wait) }
        return
      }
      state.sleepers.add(wait) {
        self.watcher.watch(wait.offset, value: wait.value, in: memory, of: self)
      }
    }
  }

  /// Wakes the sleepers at `offset`, ours and plain ones.
  ///
  /// - Throws: EADDRNOTAVAIL, E2BIG.
  package func condWake(_ offset: UInt32) throws(Errno) {
    try updateMemory { state, memory, wakes throws(Errno) in
      do throws(OffsetError) {
        try memory.window.check(offset)
      } catch { throw Self.errno(error) }
      wakes.condWakes += 1
      wakes.memory = memory
      wakes.futexes.append(offset)
      state.wakeSleepers(at: offset, isCounted: true, memory, &wakes)
    }
  }

  /// A FUTEX_WAKE came through a mapping, or the word changed before we slept on it.
  func futexWoken(_ offset: UInt32, isCounted: Bool) {
    try? updateMemory { state, memory, wakes in
      state.wakeSleepers(at: offset, isCounted: isCounted, isOurs: false, memory, &wakes)
      // A receiver that works through the mapping wakes futexes when it drains.
      for end in End.allCases where !state[end].blockedWrites.isEmpty {
        state.stopWatching(end)
        state.watchForDrain(of: end, memory, self.watcher, self, &wakes)
      }
    }
  }
}
