// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
internal import VsocProtocol

/// Uses, the file, the mapping and the size of a region: what of it is there at all.
extension Region {
  // MARK: Uses

  /// Counts one more user, during whose use the region cannot be destroyed.
  ///
  /// - Parameter touchesMemory: the memory is mapped, which may wait for requests of the file
  ///   system; no lock may be held then.
  /// - Throws: ENOENT: the region is gone.
  package func beginUse(touchesMemory: Bool = true) throws(Errno) {
    try life.withLock { life throws(Errno) in
      guard !life.isDestroyed else { throw .noSuchFileOrDirectory }
      life.users += 1
    }
    guard touchesMemory, mapping.isForUseOnly else { return }
    do throws(Errno) {
      try mapForUse()
    } catch {
      endUse()
      throw error
    }
  }

  package func endUse() {
    let isUnused = life.withLock { life in
      life.users -= 1
      return life.users == 0
    }
    if isUnused, mapping.isForUseOnly || isMemoryBroken { unmapAfterUse() }
  }

  /// Maps the memory for a user that did not have it mapped when it began; see `beginUse`.
  package func prepareMemory() throws(Errno) {
    if mapping.isForUseOnly { try mapForUse() }
  }

  /// Maps the memory for as long as there are users, if it is not.
  private func mapForUse() throws(Errno) {
    guard state.withLock({ $0.memory == nil }) else { return }
    guard !storage.isClosed else { throw .operationNotSupportedByDevice }
    try storage.mappingTurn.withLock { _ throws(Errno) in
      guard state.withLock({ $0.memory == nil }) else { return }
      guard !storage.isClosed else { throw .operationNotSupportedByDevice }
      let memory = try map()
      state.withLock { state in
        // Who closes the storage takes mappings away after that, under this lock.
        if !storage.isClosed { state.memory = memory }
      }
    }
  }

  /// A mapping that is counted from before it is made until it is undone.
  private func map() throws(Errno) -> RegionMemory {
    let (file, geometry, count) = try life.withLock { life throws(Errno) in
      let file = try self.file(&life)
      life.mappings.begin()
      return (file, life.configuration.geometry, life.mappings)
    }
    let shared: SharedMapping
    do throws(Errno) {
      shared = try mapping.map(file, of: index, geometry)
    } catch {
      count.end()
      throw error
    }
    shared.afterUnmap = { count.end() }
    return RegionMemory(shared, geometry)
  }

  /// A user that comes while the last one goes finds the mapping, or makes a new one: both look
  /// under the lock that guards it.
  private func unmapAfterUse() {
    guard state.withLock({ $0.memory != nil }) else { return }
    storage.mappingTurn.withLock { _ in
      let memory = state.withLock { state -> RegionMemory? in
        guard life.withLock({ $0.users == 0 }) else { return nil }
        isMemoryBroken = false
        return mapping.isForUseOnly || state.memory?.isBroken ?? false ? state.memory.take() : nil
      }
      letGo(memory)
    }
  }

  // MARK: The file and the mapping

  /// The file, and what maps it in page-cache mode.
  static let descriptorsPerFile = 2
  /// The part of all descriptors that the files of one user's regions may take (docs/security.md).
  static let descriptorsPart = 8

  /// The region's file, made if this is the first use of it. Under the lock of `life`.
  ///
  /// - Throws: ENFILE: the region's maker has as many files open as he may.
  func file(_ life: inout RegionLife) throws(Errno) -> RegionFile {
    if let file = life.file { return file }
    guard !life.isDestroyed else { throw .noSuchFileOrDirectory }
    guard fileQuota.take(Self.descriptorsPerFile, for: maker) else {
      throw .tooManyOpenFilesInSystem
    }
    do throws(Errno) {
      let file = try storage.files.open(header(life.configuration))
      life.file = file
      return file
    } catch {
      fileQuota.giveBack(Self.descriptorsPerFile, of: maker)
      throw error
    }
  }

  /// The mapping. Under the lock of `state`.
  ///
  /// - Parameter isNeeded: also if it is broken, by those who put back what they have taken.
  /// - Throws: EIO: it is broken, and stays so for as long as somebody uses the region.
  func memory(
    _ state: inout RegionState, isNeeded: Bool = false
  ) throws(Errno) -> RegionMemory {
    if let memory = state.memory {
      guard isNeeded || !memory.isBroken else { throw .ioError }
      return memory
    }
    guard !mapping.isForUseOnly else { throw .operationNotSupportedByDevice }
    let memory = try map()
    state.memory = memory
    return memory
  }

  /// Fixes the size and gives the file, to be mapped by others.
  @discardableResult
  package func seal() throws(Errno) -> RegionFile {
    try life.withLock { life throws(Errno) in
      let file = try self.file(&life)
      if !life.isSealed {
        try file.fixSize()
        life.isSealed = true
      }
      return file
    }
  }

  /// The same with the mapping.
  package func sealedMemory() throws(Errno) -> RegionMemory { try sealedMemory(isNeeded: false) }

  /// - Parameter isNeeded: see `memory`.
  func sealedMemory(isNeeded: Bool) throws(Errno) -> RegionMemory {
    try seal()
    do throws(Errno) {
      return try state.withLock { state throws(Errno) in
        try self.memory(&state, isNeeded: isNeeded)
      }
    } catch {
      reportBrokenMemory()
      throw error
    }
  }

  /// The file if there is one.
  package var currentFile: RegionFile? { life.withLock { $0.file } }

  /// Whether the size is fixed for good.
  package var isSealed: Bool { life.withLock { $0.isSealed } }

  // MARK: Size and end

  /// Changes the size, and gives the geometry that there was.
  ///
  /// - Throws: EPERM once it is fixed. EBUSY while somebody waits on a word of the memory, or this
  ///   process has mapped it for use: nothing that is mapped may shrink.
  func resize(to geometry: RegionGeometry) throws(Errno) -> RegionGeometry {
    if !mapping.isForUseOnly { try unmapUnwatched() }
    return try life.withLock { life throws(Errno) in
      guard !life.isSealed else { throw .notPermitted }
      guard !life.isDestroyed else { throw .noSuchFileOrDirectory }
      guard life.mappings.isZero else { throw .resourceBusy }
      var configuration = life.configuration
      configuration.geometry = geometry
      try self.storage.files.resize(life.file, to: self.header(configuration))
      swap(&life.configuration, &configuration)
      return configuration.geometry
    }
  }

  /// Lets the mapping go as long as nobody is known to look at it; the next use makes another.
  private func unmapUnwatched() throws(Errno) {
    let memory = try state.withLock { state throws(Errno) in
      guard state.guest.blockedWrites.isEmpty, state.host.blockedWrites.isEmpty,
        state.sleepers.buckets.isEmpty
      else { throw .resourceBusy }
      return state.memory.take()
    }
    if memory != nil { watcher.collect() }
  }

  /// Marks the region destroyed. EBUSY while it has users.
  func markDestroyed() throws(Errno) {
    try life.withLock { life throws(Errno) in
      guard life.users == 0, !mapping.isForUseOnly || life.mappings.isZero else {
        throw .resourceBusy
      }
      life.isDestroyed = true
    }
  }

  /// It could not be destroyed after all.
  func unmarkDestroyed() {
    life.withLock { $0.isDestroyed = false }
  }

  /// Lets the mapping go, whoever may still want it.
  func unmap() {
    guard let memory = state.withLock({ $0.memory.take() }) else { return }
    storage.mappingTurn.withLock { _ in letGo(memory) }
  }

  private func letGo(_ memory: RegionMemory?) {
    guard let memory else { return }
    memory.synchronize()
    // Threads that slept on words of it keep it mapped until they look.
    watcher.collect()
  }
}
