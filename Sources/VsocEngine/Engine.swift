// SPDX-License-Identifier: Apache-2.0

internal import Glibc
package import LinuxSystem
package import Logging
internal import Synchronization
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
    var shares: RegionShares
  }

  package let storage: RegionStorage
  private let machinery: Machinery
  private let timers: TimerQueue
  /// Taken before a region's locks, never while one is held. No disk is waited for inside.
  private let table: Lock<Table>
  private let changes = Atomic<UInt64>(0)
  /// Orders what is told to the files: the last one told is the newest. Taken before `table`.
  private let accessOrder = Lock(())

  package var parking: Parking { machinery.parking }
  package var counters: Counters { machinery.counters }

  /// Makes what rings events that peers have; tried again while it fails.
  package typealias RingerSource = @Sendable () throws(Errno) -> Ringer

  /// - Parameters:
  ///   - limits: of regions.
  ///   - trusted: who may have all of what is limited.
  ///   - log: told of what has no caller to be told.
  package init(
    limits: RegionLimits = RegionLimits(), storage: RegionStorage = RegionStorage(),
    trusted: UserShares.Trusted = .current,
    ringer: @escaping RingerSource = { () throws(Errno) in try Ringer() }, log: Logger = .silent
  ) throws(Errno) {
    table = Lock(Table(shares: RegionShares(limits, trusted: trusted)))
    self.storage = storage
    timers = try TimerQueue(log: log)
    let parking = Parking(timers: timers, trusted: trusted)
    machinery = Machinery(
      parking: parking, counters: Counters(), watcher: FutexWatcher(log: log),
      writers: WriterWatch(log: log), bells: BellWatch(ringer: ringer, log: log),
      fileQuota: UserQuota(
        UserShares(
          of: ResourceLimits.descriptors, each: ResourceLimits.descriptors / Region.descriptorsPart,
          trusted: trusted)),
      offsetQuota: UserQuota(UserShares(of: KeptOffsets.capacity, trusted: trusted)), log: log)
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

  /// Gets what it takes to ring peers, before there are any: later somebody may have taken it. Without it no
  /// peer can take part, until it can be had.
  package func prepareForPeers() { machinery.bells.prepare() }

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

  /// How often regions came, went, or became something else: what was told of all of them is still true
  /// while it stays the same.
  package var generation: UInt64 { changes.load(ordering: .acquiring) }

  private func noteChange() { changes.wrappingAdd(1, ordering: .releasing) }

  /// Makes a region. EEXIST: the name is taken. ENOSPC: there is no room for it, or none for its maker.
  /// ENOENT: no such manager.
  @discardableResult
  package func create(
    _ configuration: RegionConfiguration, by maker: UInt32? = nil
  ) throws(Errno) -> Region {
    try create([configuration], by: maker)[0]
  }

  /// Makes regions in this order, which may name one another as managers; all of them or none.
  ///
  /// - Parameter maker: the user who is charged with them; nil: this process's.
  /// - Throws: what making their files throws, too: ENOSPC on a full disk.
  @discardableResult
  package func create(
    _ configurations: [RegionConfiguration], by maker: UInt32? = nil
  ) throws(Errno) -> [Region] {
    let maker = maker ?? geteuid()
    let regions = try table.withLock { table throws(Errno) in
      try announce(configurations, in: &table) { _ in maker }
    }
    do throws(Errno) {
      try take(regions)
    } catch {
      table.withLock { table in
        for region in regions { table.coming.remove(region.name) }
      }
      throw error
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

  /// Takes in regions whose files are there already. Who made them is not known: their owners are charged.
  package func adopt(_ configurations: [RegionConfiguration]) throws(Errno) {
    try table.withLock { table throws(Errno) in
      let regions = try announce(configurations, in: &table) { $0.guest.uid }
      for region in regions {
        table.shares.record(size: region.configuration.geometry.size, of: region.maker)
      }
      enter(regions, into: &table)
    }
  }

  /// Charges their makers, all of them or none.
  private func take(_ regions: [Region]) throws(Errno) {
    try table.withLock { table throws(Errno) in
      var shares = table.shares
      for region in regions {
        try shares.add(size: region.configuration.geometry.size, of: region.maker)
      }
      table.shares = shares
    }
  }

  /// Takes the names and the indices; nobody finds the regions yet.
  private func announce(
    _ configurations: [RegionConfiguration], in table: inout Table,
    by maker: (RegionConfiguration) -> UInt32
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
    return zip(configurations, managers).map { configuration, manager in
      let region = Region(
        index: table.nextIndex, configuration: configuration, managerIndex: manager,
        maker: maker(configuration), storage: storage, machinery)
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
    noteChange()
  }

  private func withdraw(_ region: Region, from table: inout Table) {
    table.coming.remove(region.name)
    table.shares.remove(size: region.configuration.geometry.size, of: region.maker)
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
      noteChange()
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
      noteChange()
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
    let taken = try table.withLock { table throws(Errno) in
      try table.shares.begin(new.size, insteadOf: old.size, of: region.maker)
    }
    var growth = 0
    defer {
      table.withLock { $0.shares.end(taken: taken, growth: growth, of: region.maker) }
      noteChange()
    }
    growth = Int(new.size) - Int(try region.resize(to: new).size)
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
    table.withLock { $0.shares.usedBytes }
  }

  /// The most bytes that all regions may have together; nil: no limit.
  package var sizeCap: UInt64? { table.withLock { $0.shares.limits.bytes } }

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
