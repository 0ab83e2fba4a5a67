// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import LinuxSystem
package import SystemPackage
package import VsocProtocol

/// A region of shared memory with its two ends.
///
/// Safe to use from any thread. Every operation locks the region once, changes its state, collects
/// whom that wakes, and wakes them after it has unlocked.
package final class Region: Sendable {
  /// Counted from 1, never used twice; the index of the ABI.
  package let index: UInt32
  package let name: RegionName
  /// The index of the managing region, 0 for none.
  package let managerIndex: UInt32
  /// Seconds since the epoch.
  package let creationTime: Int64
  package let parking: Parking
  let watcher: FutexWatcher
  let counters: Counters
  let state: Lock<RegionState>

  init(
    index: UInt32, configuration: RegionConfiguration, managerIndex: UInt32, parking: Parking,
    watcher: FutexWatcher, counters: Counters
  ) {
    self.index = index
    self.managerIndex = managerIndex
    creationTime = Int64(time(nil))
    name = configuration.name
    self.parking = parking
    self.watcher = watcher
    self.counters = counters
    state = Lock(RegionState(configuration: configuration))
  }

  package var configuration: RegionConfiguration {
    state.withLock { $0.configuration }
  }

  /// Changes the state and wakes whom that concerns.
  func update<Value>(
    _ body: (inout RegionState, inout Wakes) throws(Errno) -> Value
  ) throws(Errno) -> Value {
    var wakes = Wakes()
    let value = try state.withLock { state throws(Errno) in
      let value = try body(&state, &wakes)
      if let memory = state.memory { state.settle(memory, &wakes) }
      return value
    }
    counters.add(wakes)
    wakes.deliver(parking)
    return value
  }

  /// The same with the region's memory, which is made if this is the first use of it.
  func updateMemory<Value>(
    _ body: (inout RegionState, RegionMemory, inout Wakes) throws(Errno) -> Value
  ) throws(Errno) -> Value {
    try update { state, wakes throws(Errno) in
      let memory = try self.memory(&state)
      return try body(&state, memory, &wakes)
    }
  }

  private func memory(_ state: inout RegionState) throws(Errno) -> RegionMemory {
    if let memory = state.memory { return memory }
    guard !state.isDestroyed else { throw .noSuchFileOrDirectory }
    let memory = try RegionMemory(header: header(state.configuration))
    state.memory = memory
    return memory
  }

  package func header(_ configuration: RegionConfiguration) -> RegionHeader {
    RegionHeader(
      name: name, geometry: configuration.geometry, currentVersion: configuration.currentVersion,
      minCompatibleVersion: configuration.minCompatibleVersion, managedBy: managerIndex)
  }

  // MARK: Uses, size, owner

  /// Counts one more user, during whose use the region cannot be destroyed. ENOENT if it is.
  package func beginUse() throws(Errno) {
    try update { state, _ throws(Errno) in
      guard !state.isDestroyed else { throw .noSuchFileOrDirectory }
      state.users += 1
    }
  }

  package func endUse() {
    state.withLock { $0.users -= 1 }
  }

  /// Lets go of the readers that are open still, which hold the region.
  func forgetReaders() {
    state.withLock { state in
      for end in End.allCases {
        state[end].doorbellReaders.removeAll()
        state[end].signalReaders.removeAll()
      }
    }
  }

  /// Marks the region destroyed. EBUSY while it has users.
  func destroy() throws(Errno) {
    let memory = try update { state, _ throws(Errno) in
      guard state.users == 0 else { throw .resourceBusy }
      state.isDestroyed = true
      let memory = state.memory
      state.memory = nil
      return memory
    }
    if memory != nil { watcher.collect() }
  }

  /// Fixes the size and gives the memory, to be mapped by others.
  package func seal() throws(Errno) -> RegionMemory {
    try updateMemory { state, memory, _ throws(Errno) in
      if !state.isSealed {
        try memory.seal()
        state.isSealed = true
      }
      return memory
    }
  }

  /// Whether the size is fixed for good.
  package var isSealed: Bool {
    state.withLock { $0.isSealed }
  }

  /// Changes the size. EPERM once it is fixed.
  func resize(to geometry: RegionGeometry) throws(Errno) {
    try update { state, wakes throws(Errno) in
      guard !state.isSealed else { throw .notPermitted }
      guard !state.isDestroyed else { throw .noSuchFileOrDirectory }
      var configuration = state.configuration
      configuration.geometry = geometry
      if let old = state.memory {
        let new = try RegionMemory(header: self.header(configuration))
        new.adoptEngines(of: old)
        state.memory = new
      }
      state.configuration = configuration
    }
  }

  /// Changes owner or mode of an end.
  package func setAccess(of end: End, _ change: (inout EndAccess) -> Void) {
    state.withLock { state in
      switch end {
      case .guest: change(&state.configuration.guest)
      case .host: change(&state.configuration.host)
      }
    }
  }
}
