// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
package import SystemPackage
internal import VsocProtocol

/// How a handle of a managed region gets a permission (SPEC §7).
extension Region {
  /// Claims an area of this region for a handle.
  ///
  /// That nobody else has the area or the owner word, and that both are taken, is one step, inside the
  /// lock of `permissions`. Before it, what can fail is tried, and the permission is written down for
  /// the case that this process ends. After it, the area's contents move into the file that the handle
  /// reaches.
  ///
  /// - Parameter manager: by whose handle the caller asks; the managing region itself if by this one's.
  /// - Throws: EEXIST: the handle has a permission. EPERM: this is not the managing region. EINVAL,
  ///   ERANGE: see `Permission.check`. EAGAIN: somebody else has it. ENOSPC, ENOMEM: there is no room.
  package func claim(
    _ permission: Permission, for handle: AreaHandle, managedBy manager: Region,
    by claimant: Claimant
  ) throws(Errno) {
    try permissions.withLock { _ throws(Errno) in try handle.checkIsIdle() }
    guard isManaged, manager.index == managerIndex else { throw .notPermitted }
    try permission.check(in: configuration.geometry, by: manager.configuration.geometry)
    try manager.beginUse()
    let holding: Holding
    let memory: RegionMemory
    do throws(Errno) {
      memory = try sealedMemory()
      holding = try take(permission, for: handle, manager, claimant)
    } catch {
      manager.endUse()
      throw error
    }
    do throws(Errno) {
      try give(holding, to: handle, memory)
    } catch {
      takeBack(holding, from: handle, memory)
      throw error
    }
    let isWanted = permissions.withLock { table in
      let isWanted = !handle.isClosed && !table.isClosed
      if isWanted {
        handle.phase = .holding(holding)
        table.keep(holding)
      }
      return isWanted
    }
    if !isWanted { end(holding, of: handle) }
  }

  /// Writes the permission down and takes it.
  private func take(
    _ permission: Permission, for handle: AreaHandle, _ manager: Region, _ claimant: Claimant
  ) throws(Errno) -> Holding {
    let memory = try manager.sealedMemory()
    // The sizes are fixed from here on.
    try permission.check(in: configuration.geometry, by: memory.geometry)
    guard let word = try? memory.window.word(at: permission.ownerOffset) else {
      throw .outOfRange
    }
    // If its page must be waited for, not with a lock held.
    _ = word.load()
    let slot = try storage.files.record(
      PermissionRecord(
        region: name, manager: manager.name, permission: permission, area: handle.file.number))
    let holding = Holding(
      permission, claimant, manager: manager, file: handle.file, slot: slot)
    do throws(Errno) {
      try take(holding, for: handle, word)
    } catch {
      if error == .wouldBlock { counters.addClaim(isRefused: true) }
      forget(holding)
      throw error
    }
    counters.addClaim(isRefused: false)
    return holding
  }

  /// Takes the area and the owner word, or neither.
  ///
  /// - Throws: EEXIST, EPERM: what is to be said of the handle has changed meanwhile. EAGAIN.
  private func take(
    _ holding: Holding, for handle: AreaHandle, _ word: SharedWord
  ) throws(Errno) {
    if try takeNow(holding, for: handle, word) { return }
    // Only a mapping may have kept it, which may be gone by now.
    var isAnyGone = false
    for other in permissions.withLock({ $0.lingering })
    where other.permission.isInTheWay(of: holding.permission) {
      if settle(other) { isAnyGone = true }
    }
    guard isAnyGone, try takeNow(holding, for: handle, word) else { throw .wouldBlock }
  }

  private func takeNow(
    _ holding: Holding, for handle: AreaHandle, _ word: SharedWord
  ) throws(Errno) -> Bool {
    try permissions.withLock { table throws(Errno) in
      try handle.checkIsIdle()
      guard !table.isClosed else { throw .operationNotSupportedByDevice }
      guard table.isFree(holding.permission) else { return false }
      let found = holding.manager.ownerWords.withLock { _ in
        word.compareExchange(expected: Permission.free, holding.permission.ownedValue)
      }
      guard found == Permission.free else { return false }
      table.insert(holding)
      handle.phase = .changing
      return true
    }
  }

  /// Moves the area's contents to the file that the handle reaches.
  private func give(
    _ holding: Holding, to handle: AreaHandle, _ memory: RegionMemory
  ) throws(Errno) {
    let (permission, file) = (holding.permission, holding.file)
    let begin = UInt64(permission.beginOffset)
    let area = begin..<UInt64(permission.endOffset)
    let own = try seal()
    var isAnyData = false
    try file.withWriter { writer throws(Errno) in
      try file.begin(permission.size, writer)
      // The area may have owner words itself, if the region manages another: none is changed between
      // the copy and the view of it. What is waited for inside is answered by threads that need no lock.
      try ownerWords.withLock { _ throws(Errno) in
        try own.forEachData(in: area) { data throws(Errno) in
          isAnyData = true
          try own.descriptor.copy(data, to: writer, at: data.lowerBound - begin)
        }
        if let slot = holding.slot { try storage.files.markFilled(slot) }
        handle.setSize(permission.size)
        // Nothing of it is touched before the kernel is known to have its size.
        holding.way = try storage.mapping.openArea(at: handle.place, size: permission.size)
        try show(holding, memory, isWritable: isManager)
      }
    }
    watcher.collect()
    // Twice in memory, once too often.
    if isAnyData { try own.discard(area) }
  }

  /// Undoes what has been given: the region's own file has all that the area holds.
  private func takeBack(
    _ holding: Holding, from handle: AreaHandle, _ memory: RegionMemory
  ) {
    handle.setSize(0)
    do throws(Errno) {
      try showOwn(holding, memory)
      // Whoever keeps the kernel from taking a size may keep it from this one as well. What he reaches
      // then is an empty file.
      if holding.way != nil { try? announceSize(of: holding, reachesPages: false) }
      try holding.file.empty()
    } catch {
      log.error("an area of region \"\(name)\" could not be taken back: \(error)")
    }
    finish(holding, of: handle)
  }

  /// Shows the area in this process's mapping of the region as its holder has it.
  ///
  /// - Parameter isWritable: whether owner words in it can be changed. While it is, it cannot be told
  ///   whether somebody else can write to the area.
  func show(_ holding: Holding, _ memory: RegionMemory, isWritable: Bool) throws(Errno) {
    if holding.view == nil { holding.view = try memory.part(holding.permission) }
    if holding.way != nil {
      try memory.map(holding.way!, at: 0, over: holding.permission, isWritable: isWritable)
    } else if holding.file.isReadOnly, !isWritable {
      try memory.map(
        holding.file.descriptor, at: 0, over: holding.permission, isWritable: false)
    } else {
      let view = try holding.file.descriptor.reopen(forWriting: isWritable)
      try memory.map(view, at: 0, over: holding.permission, isWritable: isWritable)
    }
  }

  /// Shows the region's own memory there again.
  func showOwn(_ holding: Holding, _ memory: RegionMemory) throws(Errno) {
    let permission = holding.permission
    try seal().withWriter { writer throws(Errno) in
      try memory.map(writer, at: permission.beginOffset, over: permission, isWritable: true)
    }
  }

  func announceSize(of holding: Holding, reachesPages: Bool) throws(Errno) {
    try storage.mapping.announceSize(of: holding.way!, reachesPages: reachesPages)
  }
}

extension Permission {
  /// Whether the two cannot live at once.
  func isInTheWay(of other: Permission) -> Bool {
    ownerOffset == other.ownerOffset
      || beginOffset < other.endOffset && other.beginOffset < endOffset
  }
}
