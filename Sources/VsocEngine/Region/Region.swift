// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import LinuxSystem
internal import Logging
internal import Synchronization
internal import SystemPackage
package import VsocProtocol

/// What all regions of an engine share.
struct Machinery: Sendable {
  let parking: Parking
  let counters: Counters
  let watcher: FutexWatcher
  let writers: WriterWatch
  let bells: BellWatch
  /// Descriptors of regions' files.
  let fileQuota: UserQuota
  /// See `KeptOffsets`.
  let offsetQuota: UserQuota
  /// Told of what has no caller to be told.
  let log: Logger
}

/// A region of shared memory with its two ends.
///
/// Safe to use from any thread. Every operation of the engines locks the region once, changes its
/// state, collects whom that wakes, and wakes them after it has unlocked.
package final class Region: Sendable {
  /// Counted from 1, never used twice; the index of the ABI.
  package let index: UInt32
  package let name: RegionName
  /// The index of the managing region, 0 for none.
  package let managerIndex: UInt32
  /// The user who is charged with it.
  let maker: UInt32
  /// Seconds since the epoch.
  package let creationTime: Int64
  /// Whether another region is managed by this one; never taken back.
  private let manages = Atomic(false)
  private let brokenMemory = Atomic(false)
  package let parking: Parking
  let storage: RegionStorage
  let watcher: FutexWatcher
  let counters: Counters
  let writers: WriterWatch
  let bellWatch: BellWatch
  let fileQuota: UserQuota
  let log: Logger
  let state: Lock<RegionState>
  /// May be taken inside `state`, never the other way round.
  let life: Lock<RegionLife>
  /// Who has which area, of a managed region. Taken before `ownerWords`, never inside another.
  let permissions = Lock(PermissionTable())
  /// Held while one of this region's owner words is changed, and while words of it move from one file
  /// to another. The memory is touched inside.
  let ownerWords = Lock(())

  init(
    index: UInt32, configuration: RegionConfiguration, managerIndex: UInt32, maker: UInt32,
    storage: RegionStorage, _ machinery: Machinery
  ) {
    self.index = index
    self.managerIndex = managerIndex
    self.maker = maker
    creationTime = Int64(time(nil))
    name = configuration.name
    self.storage = storage
    parking = machinery.parking
    watcher = machinery.watcher
    counters = machinery.counters
    writers = machinery.writers
    bellWatch = machinery.bells
    fileQuota = machinery.fileQuota
    state = Lock(RegionState(allowance: KeptOffsets(machinery.offsetQuota, of: maker)))
    log = machinery.log
    // What was there before this process may be in use as it is.
    life = Lock(
      RegionLife(
        configuration: configuration, isSealed: storage.files.wasFound(configuration.name)))
  }

  deinit {
    state.withLock { state in
      state.guest.forgetOffsets()
      state.host.forgetOffsets()
    }
    guard life.withLock({ $0.file != nil }) else { return }
    fileQuota.giveBack(Self.descriptorsPerFile, of: maker)
  }

  /// Whether the memory is only reached through permissions.
  package var isManaged: Bool { managerIndex != 0 }

  /// Whether another region's owner words stand in this one.
  var isManager: Bool {
    get { manages.load(ordering: .acquiring) }
    set { manages.store(newValue, ordering: .releasing) }
  }

  /// Whether its memory was broken when it was last looked at (`reportBrokenMemory`).
  var isMemoryBroken: Bool {
    get { brokenMemory.load(ordering: .relaxed) }
    set { brokenMemory.store(newValue, ordering: .relaxed) }
  }

  /// How this process reaches the region's memory. That of a managed one is nobody's but ours.
  var mapping: any RegionMapping { isManaged ? DirectMapping() : storage.mapping }

  package var configuration: RegionConfiguration {
    life.withLock { $0.configuration }
  }

  /// Changes owner or mode of an end.
  func setAccess(of end: End, _ change: (inout EndAccess) -> Void) {
    life.withLock { life in
      switch end {
      case .guest: change(&life.configuration.guest)
      case .host: change(&life.configuration.host)
      }
    }
  }

  package func header(_ configuration: RegionConfiguration) -> RegionHeader {
    RegionHeader(
      name: name, geometry: configuration.geometry, currentVersion: configuration.currentVersion,
      minCompatibleVersion: configuration.minCompatibleVersion, managedBy: managerIndex)
  }

  // MARK: The engines

  /// Changes the state and wakes whom that concerns.
  func update<Value>(
    _ body: (inout RegionState, inout Wakes) throws(Errno) -> Value
  ) throws(Errno) -> Value {
    var wakes = Wakes()
    var isBroken = false
    let value = try state.withLock { state throws(Errno) in
      let value = try body(&state, &wakes)
      if let memory = state.memory {
        state.settle(memory, &wakes)
        isBroken = memory.isBroken
      }
      return value
    }
    counters.add(wakes)
    wakes.deliver(parking, ringingBy: bellWatch)
    if isBroken { reportBrokenMemory() }
    return value
  }

  /// The same with the region's memory, which is mapped if this is the first use of it.
  ///
  /// - Throws: ENOENT: the region is gone. ENODEV: its memory can only be had by those who use it. EIO: it
  ///   is broken.
  func updateMemory<Value>(
    _ body: (inout RegionState, RegionMemory, inout Wakes) throws(Errno) -> Value
  ) throws(Errno) -> Value {
    do throws(Errno) {
      return try update { state, wakes throws(Errno) in
        let memory = try self.memory(&state)
        return try body(&state, memory, &wakes)
      }
    } catch {
      // Another thread may have broken it, without a look at it since.
      if error == .ioError { reportBrokenMemory() }
      throw error
    }
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
}
