// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocProtocol

/// All regions of a mount, and the machinery that their waiters share: deadlines and futexes.
package final class Engine: Sendable {
  private struct Table {
    var byIndex: [UInt32: Region] = [:]
    var byName: [RegionName: Region] = [:]
    var nextIndex: UInt32 = 1
    var usedBytes: UInt64 = 0
  }

  /// The most bytes that all regions may have together; nil: no limit.
  package let sizeCap: UInt64?
  package let parking: Parking
  package let counters = Counters()
  private let watcher = FutexWatcher()
  private let timers: TimerQueue
  /// Taken before a region's lock, never while one is held.
  private let table = Lock(Table())

  package init(sizeCap: UInt64? = nil) throws(Errno) {
    self.sizeCap = sizeCap
    timers = try TimerQueue()
    let parking = Parking(timers: timers)
    self.parking = parking
    try timers.start { parking.abandon(token: $0, .timedOut) }
  }

  /// Ends every wait with `.gone` and lets the threads and the readers go. Nothing may wait
  /// afterwards.
  package func shutDown() {
    parking.abandonAll(.gone)
    for region in regions { region.forgetReaders() }
    watcher.stop()
    timers.stop()
  }

  // MARK: Regions

  /// Makes a region. EEXIST: the name is taken. ENOSPC: over the cap. ENOENT: no such manager.
  @discardableResult
  package func create(_ configuration: RegionConfiguration) throws(Errno) -> Region {
    try create([configuration])[0]
  }

  /// Makes regions in this order, which may name one another as managers; all of them or none.
  @discardableResult
  package func create(_ configurations: [RegionConfiguration]) throws(Errno) -> [Region] {
    try table.withLock { table throws(Errno) in
      var indices = table.byName.mapValues(\.index)
      for (index, configuration) in zip(table.nextIndex..., configurations) {
        guard indices.updateValue(index, forKey: configuration.name) == nil else {
          throw .fileExists
        }
      }
      let size = configurations.reduce(UInt64(0)) { $0 + UInt64($1.geometry.size) }
      var managers: [UInt32] = []
      for configuration in configurations {
        guard let manager = configuration.managedBy else {
          managers.append(0)
          continue
        }
        guard let index = indices[manager] else { throw .noSuchFileOrDirectory }
        managers.append(index)
      }
      try reserve(size, in: &table)
      return zip(configurations, managers).map { configuration, manager in
        let region = Region(
          index: table.nextIndex, configuration: configuration, managerIndex: manager,
          parking: parking, watcher: watcher, counters: counters)
        table.nextIndex += 1
        table.byIndex[region.index] = region
        table.byName[region.name] = region
        return region
      }
    }
  }

  /// Destroys a region. ENOENT: there is none of the name. EBUSY: it is in use, or
  /// manages another.
  package func destroy(_ name: RegionName) throws(Errno) -> Region {
    try table.withLock { table throws(Errno) in
      guard let region = table.byName[name] else { throw .noSuchFileOrDirectory }
      guard !table.byIndex.values.contains(where: { $0.managerIndex == region.index }) else {
        throw .resourceBusy
      }
      try region.destroy()
      table.byName.removeValue(forKey: name)
      table.byIndex.removeValue(forKey: region.index)
      table.usedBytes -= UInt64(region.configuration.geometry.size)
      return region
    }
  }

  /// Changes a region's size, as long as nobody can have mapped it.
  ///
  /// - Throws: EINVAL, EFBIG, ENOSPC, EPERM once the size is fixed.
  package func resize(_ region: Region, to size: UInt64) throws(Errno) {
    try table.withLock { table throws(Errno) in
      let old = region.configuration.geometry
      let new: RegionGeometry
      do throws(GeometryError) {
        new = try RegionGeometry(
          size: size, guestToHostNodesLg2: old.guestToHost.nodesLg2,
          hostToGuestNodesLg2: old.hostToGuest.nodesLg2)
      } catch {
        throw error == .sizeTooLarge ? .fileTooLarge : .invalidArgument
      }
      guard !region.isSealed else { throw .notPermitted }
      table.usedBytes -= UInt64(old.size)
      do throws(Errno) {
        try reserve(UInt64(new.size), in: &table)
      } catch {
        table.usedBytes += UInt64(old.size)
        throw error
      }
      do throws(Errno) {
        try region.resize(to: new)
      } catch {
        table.usedBytes += UInt64(old.size)
        table.usedBytes -= UInt64(new.size)
        throw error
      }
    }
  }

  private func reserve(_ size: UInt64, in table: inout Table) throws(Errno) {
    if let sizeCap, table.usedBytes + size > sizeCap { throw .noSpace }
    table.usedBytes += size
  }

  package func region(_ index: UInt32) -> Region? {
    table.withLock { $0.byIndex[index] }
  }

  package func region(named name: RegionName) -> Region? {
    table.withLock { $0.byName[name] }
  }

  /// All regions by index.
  package var regions: [Region] {
    table.withLock { $0.byIndex.values.sorted { $0.index < $1.index } }
  }

  package var usedBytes: UInt64 {
    table.withLock { $0.usedBytes }
  }

  package var regionCount: Int {
    table.withLock { $0.byIndex.count }
  }

  /// The threads that sleep on futexes for others.
  package var futexThreadCount: Int { watcher.threadCount }
}
