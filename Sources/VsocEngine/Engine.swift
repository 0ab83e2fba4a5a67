// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import Logging
package import SystemPackage
package import VsocProtocol

/// All regions of a mount, and the machinery that their waiters share: deadlines and futexes.
package final class Engine: Sendable {
  private struct Table {
    var byIndex: [UInt32: Region] = [:]
    var byName: [RegionName: Region] = [:]
    /// Names of regions whose files are being made.
    var coming: Set<RegionName> = []
    var nextIndex: UInt32 = 1
    var usedBytes: UInt64 = 0
  }

  /// The most bytes that all regions may have together; nil: no limit.
  package let sizeCap: UInt64?
  package let storage: RegionStorage
  private let machinery: Machinery
  private let timers: TimerQueue
  /// Taken before a region's locks, never while one is held. No disk is waited for inside.
  private let table = Lock(Table())
  /// Orders what is told to the files: the last one told is the newest. Taken before `table`.
  private let accessOrder = Lock(())

  package var parking: Parking { machinery.parking }
  package var counters: Counters { machinery.counters }

  /// - Parameter log: told of what has no caller to be told.
  package init(
    sizeCap: UInt64? = nil, storage: RegionStorage = RegionStorage(),
    log: Logger = .silent
  ) throws(Errno) {
    self.sizeCap = sizeCap
    self.storage = storage
    timers = try TimerQueue()
    let parking = Parking(timers: timers)
    machinery = Machinery(
      parking: parking, counters: Counters(), watcher: FutexWatcher(), writers: WriterWatch(),
      bells: BellWatch(), log: log)
  }

  /// Ends every wait with `.gone` and lets the threads and the readers go. Nothing may wait
  /// afterwards.
  package func shutDown() {
    parking.abandonAll(.gone)
    for region in regions { region.forgetReaders() }
    machinery.watcher.stop()
    machinery.writers.stop()
    machinery.bells.stop()
    timers.stop()
  }

  /// Ends all permissions: what clients have stored in their areas is with the regions then.
  package func endPermissions() {
    for region in regions where region.isManaged { region.endPermissions() }
  }

  /// Lets go of the memory of all regions; where it is mapped for use, nobody maps it afterwards. What
  /// clients have stored is with the files then, as far as the memory was mapped by way of the mount.
  package func unmapAll() {
    storage.close()
    for region in regions { region.unmap() }
    // What a connection that is aborted has not written back is lost.
    for region in regions where region.currentFile != nil && !region.isManaged {
      try? storage.mapping.synchronize(region.index)
    }
  }

  // MARK: Regions

  /// Makes a region. EEXIST: the name is taken. ENOSPC: over the cap. ENOENT: no such manager.
  @discardableResult
  package func create(_ configuration: RegionConfiguration) throws(Errno) -> Region {
    try create([configuration])[0]
  }

  /// Makes regions in this order, which may name one another as managers; all of them or none.
  ///
  /// - Throws: what making their files throws, too: ENOSPC on a full disk.
  @discardableResult
  package func create(_ configurations: [RegionConfiguration]) throws(Errno) -> [Region] {
    let regions = try table.withLock { table throws(Errno) in
      try announce(configurations, in: &table)
    }
    do throws(Errno) {
      try storage.files.add(
        configurations, regions.map { $0.header($0.configuration) })
    } catch {
      table.withLock { table in
        for region in regions { withdraw(region, from: &table) }
      }
      throw error
    }
    table.withLock { enter(regions, into: &$0) }
    return regions
  }

  /// Takes in regions whose files are there already.
  package func adopt(_ configurations: [RegionConfiguration]) throws(Errno) {
    try table.withLock { table throws(Errno) in
      enter(try announce(configurations, in: &table), into: &table)
    }
  }

  /// Takes the names, the indices and the bytes; nobody finds the regions yet.
  private func announce(
    _ configurations: [RegionConfiguration], in table: inout Table
  ) throws(Errno) -> [Region] {
    var indices = table.byName.mapValues(\.index)
    for (index, configuration) in zip(table.nextIndex..., configurations) {
      guard !table.coming.contains(configuration.name),
        indices.updateValue(index, forKey: configuration.name) == nil
      else { throw .fileExists }
    }
    var managers: [UInt32] = []
    for configuration in configurations {
      guard let manager = configuration.managedBy else {
        managers.append(0)
        continue
      }
      guard let index = indices[manager] else { throw .noSuchFileOrDirectory }
      managers.append(index)
    }
    try reserve(configurations.reduce(0) { $0 + UInt64($1.geometry.size) }, in: &table)
    return zip(configurations, managers).map { configuration, manager in
      let region = Region(
        index: table.nextIndex, configuration: configuration, managerIndex: manager,
        storage: storage, machinery)
      table.nextIndex += 1
      table.coming.insert(region.name)
      return region
    }
  }

  private func enter(_ regions: [Region], into table: inout Table) {
    for region in regions {
      table.coming.remove(region.name)
      table.byIndex[region.index] = region
      table.byName[region.name] = region
    }
    for region in regions { table.byIndex[region.managerIndex]?.isManager = true }
  }

  private func withdraw(_ region: Region, from table: inout Table) {
    table.coming.remove(region.name)
    table.usedBytes -= UInt64(region.configuration.geometry.size)
  }

  /// Destroys a region. ENOENT: there is none of the name. EBUSY: it is in use, or
  /// manages another.
  package func destroy(_ name: RegionName) throws(Errno) -> Region {
    let region = try table.withLock { table throws(Errno) in
      guard let region = table.byName[name] else { throw .noSuchFileOrDirectory }
      guard !table.byIndex.values.contains(where: { $0.managerIndex == region.index }) else {
        throw .resourceBusy
      }
      try region.markDestroyed()
      table.byName.removeValue(forKey: name)
      table.byIndex.removeValue(forKey: region.index)
      // Until its file is gone, nobody can make another.
      table.coming.insert(name)
      return region
    }
    do throws(Errno) {
      try storage.files.remove(name)
    } catch {
      region.unmarkDestroyed()
      table.withLock { enter([region], into: &$0) }
      throw error
    }
    region.forgetBells()
    region.unmap()
    table.withLock { withdraw(region, from: &$0) }
    return region
  }

  /// Changes owner or mode of an end of a region.
  package func setAccess(
    of end: End, of region: Region, _ change: (inout EndAccess) -> Void
  ) throws(Errno) {
    try accessOrder.withLock { _ throws(Errno) in
      let old = region.configuration
      region.setAccess(of: end, change)
      guard region.configuration != old else { return }
      do throws(Errno) {
        try storage.files.keepAccess(of: regions.map(\.configuration))
      } catch {
        region.setAccess(of: end) { $0 = old.access(of: end) }
        throw error
      }
    }
  }

  /// Changes a region's size, as long as nobody can have mapped it.
  ///
  /// - Throws: EINVAL, EFBIG, ENOSPC, EPERM once the size is fixed.
  package func resize(_ region: Region, to size: UInt64) throws(Errno) {
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
    // Both sizes count while it happens.
    try table.withLock { table throws(Errno) in
      try reserve(UInt64(new.size), insteadOf: UInt64(old.size), in: &table)
    }
    var superseded = UInt64(new.size)
    defer { table.withLock { $0.usedBytes -= superseded } }
    superseded = UInt64(try region.resize(to: new).size)
  }

  private func reserve(
    _ size: UInt64, insteadOf old: UInt64 = 0, in table: inout Table
  ) throws(Errno) {
    if let sizeCap, table.usedBytes + size > sizeCap + old { throw .noSpace }
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

  package var permissionCount: Int {
    regions.map(\.permissionCount).reduce(0, +)
  }

  /// How many peers of each kind there are.
  package var peerCounts: [PeerKind: Int] {
    regions.flatMap(\.peers).reduce(into: [:]) { $0[$1.kind, default: 0] += 1 }
  }

  /// The threads that sleep on futexes for others.
  package var futexThreadCount: Int { machinery.watcher.threadCount }
}
