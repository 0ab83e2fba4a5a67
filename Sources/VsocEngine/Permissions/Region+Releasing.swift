// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Logging
package import SystemPackage
internal import VsocProtocol

/// How permissions end (SPEC §7).
extension Region {
  /// Gives a handle's permission up at once, whoever has the area mapped: a mapping reaches nothing
  /// any more, and who sleeps on a word of it is told ENODEV.
  ///
  /// - Throws: ENOENT: it has none. EBUSY: somebody keeps the kernel from letting mappings reach nothing.
  ///   What keeps the contents from being brought back, as ENOSPC. Then the handle has it still.
  package func release(_ handle: AreaHandle) throws(Errno) {
    let holding = try permissions.withLock { table throws(Errno) in
      guard case .holding(let holding) = handle.phase, table.beginEnd(of: holding) else {
        throw .noSuchFileOrDirectory
      }
      handle.phase = .changing
      return holding
    }
    handle.setSize(0)
    endSleeps(in: holding.permission)
    do throws(Errno) {
      try bringBack(holding, revokedFrom: handle)
    } catch {
      let isClosed = permissions.withLock { table in
        handle.phase = .holding(holding)
        table.keep(holding)
        return handle.isClosed
      }
      if error == .resourceBusy {
        log.warning(
          "an area of region \"\(name)\" is held still: while somebody writes behind its end, mappings cannot be revoked"
        )
      }
      // Whoever closed it meanwhile has left it to this thread.
      if isClosed { close(handle) }
      throw error
    }
    finish(holding, of: handle)
  }

  /// Ends the permission of a handle that is closed.
  func close(_ handle: AreaHandle) {
    let holding = permissions.withLock { table -> Holding? in
      handle.isClosed = true
      // Who is about to change it sees that it is closed.
      guard case .holding(let holding) = handle.phase, table.beginEnd(of: holding) else {
        return nil
      }
      handle.phase = .changing
      return holding
    }
    if let holding { end(holding, of: handle) }
  }

  /// Ends the permission of a closed handle, or lets it linger.
  func end(_ holding: Holding, of handle: AreaHandle) {
    // Where the page cache is the memory, a mapping keeps the handle open.
    if handle.isBacking, !hasLostItsWriters(holding) {
      try? beginUse()
      permissions.withLock { $0.linger(holding) }
      writers.add(holding, of: self)
      // It may have lost them before it was watched.
      _ = settle(holding)
    } else {
      bringBackAndFinish(holding, of: handle)
    }
  }

  /// What cannot be brought back stays where it is, and the area and the word are held: with a store,
  /// the next start tries again.
  private func bringBackAndFinish(_ holding: Holding, of handle: AreaHandle?) {
    do throws(Errno) {
      try bringBack(holding)
    } catch {
      permissions.withLock { $0.giveUp(holding) }
      let area = holding.permission.beginOffset..<holding.permission.endOffset
      return log.error("an area of region \"\(name)\" (\(area)) cannot be brought back: \(error)")
    }
    finish(holding, of: handle)
  }

  /// Ends a permission whose handle is closed if nobody has its area mapped for writing any more.
  ///
  /// - Returns: whether this call did it.
  func settle(_ holding: Holding) -> Bool {
    guard permissions.withLock({ holding.isLingering && $0.beginEnd(of: holding) }) else {
      return false
    }
    guard hasLostItsWriters(holding) else {
      permissions.withLock { $0.keep(holding) }
      return false
    }
    writers.remove(holding)
    bringBackAndFinish(holding, of: nil)
    endUse()
    return true
  }

  private func hasLostItsWriters(_ holding: Holding) -> Bool {
    do throws(Errno) {
      guard isManager else { return try holding.file.hasLostItsWriters() }
      // Our own view of it can be written to, and is while nobody changes an owner word in it. Also of one
      // that is lost: its words are changed until it is back in the region.
      let memory = try sealedMemory(isNeeded: true)
      return try ownerWords.withLock { _ throws(Errno) in
        try show(holding, memory, isWritable: false)
        let isLost = Result { () throws(Errno) in try holding.file.hasLostItsWriters() }
        try show(holding, memory, isWritable: true)
        return try isLost.get()
      }
    } catch {
      log.error("cannot tell who writes to an area of region \"\(name)\": \(error)")
      return true
    }
  }

  /// Ends every permission, whoever still has an area mapped. Nothing can be claimed afterwards.
  /// What others have begun is waited for.
  func endPermissions() {
    let quiet = try? PermissionTable.Quiet()
    bringBackAll()
    let isQuiet = permissions.withLock { table in
      if table.changing > 0 { table.quiet = quiet }
      return table.changing == 0
    }
    if !isQuiet { quiet?.semaphore.wait() }
    // What others could not end.
    bringBackAll()
  }

  private func bringBackAll() {
    let all = permissions.withLock { table in
      table.isClosed = true
      return table.holdings.filter { table.beginEnd(of: $0) }
    }
    for holding in all {
      endSleeps(in: holding.permission)
      bringBackAndFinish(holding, of: nil)
    }
  }

  // MARK: The steps

  /// Moves the area's contents back into the region.
  ///
  /// - Parameter handle: the one that is open still, and whose mappings are to reach nothing from now on. If
  ///   that fails, it has everything as before.
  private func bringBack(
    _ holding: Holding, revokedFrom handle: AreaHandle? = nil
  ) throws(Errno) {
    let memory = try sealedMemory(isNeeded: true)
    // Most of what only the kernel has, before anybody waits for the rest of it.
    if holding.way != nil { try synchronize(holding, mayFail: handle == nil) }
    try ownerWords.withLock { _ throws(Errno) in
      do throws(Errno) {
        if holding.way == nil {
          try copyBack(holding)
          try showOwn(holding, memory)
          if handle != nil { try holding.file.empty() }
        } else {
          // With the owner words that were changed meanwhile.
          try synchronize(holding, mayFail: handle == nil)
          // First this: where the kernel has no pages any more, an access would be a SIGBUS.
          try showOwn(holding, memory)
          if handle != nil { try announceSize(of: holding, reachesPages: false) }
          try copyBack(holding)
        }
      } catch {
        if let handle { restore(holding, to: handle, memory) }
        throw error
      }
    }
    watcher.collect()
    if handle != nil, holding.way != nil { emptyRevoked(holding) }
  }

  /// The permission lives on: shows the area again. Inside `ownerWords`.
  private func restore(_ holding: Holding, to handle: AreaHandle, _ memory: RegionMemory) {
    handle.setSize(holding.permission.size)
    do throws(Errno) {
      if holding.way != nil { try announceSize(of: holding, reachesPages: true) }
      try show(holding, memory, isWritable: isManager)
    } catch {
      log.error("what waits in an area of region \"\(name)\" may wait for long: \(error)")
    }
  }

  /// Nobody reaches anything of it any more.
  private func emptyRevoked(_ holding: Holding) {
    do throws(Errno) {
      try holding.file.empty()
    } catch {
      log.warning("the file of an area of region \"\(name)\" keeps its room: \(error)")
    }
  }

  private func synchronize(_ holding: Holding, mayFail: Bool) throws(Errno) {
    do throws(Errno) {
      try storage.mapping.synchronize(holding.way!)
    } catch {
      // The kernel has nothing any more if the connection was aborted, and nobody to ask again.
      if !mayFail { throw error }
    }
  }

  /// Copies from file to file: each page of the region's is new, and would be a fault of a mapping.
  private func copyBack(_ holding: Holding) throws(Errno) {
    let (permission, file) = (holding.permission, holding.file)
    let begin = UInt64(permission.beginOffset)
    try seal().withWriter { writer throws(Errno) in
      try file.forEachData(in: 0..<UInt64(permission.size)) { data throws(Errno) in
        try file.descriptor.copy(data, to: writer, at: begin + data.lowerBound)
      }
    }
  }

  /// Frees the owner word, and then the area.
  func finish(_ holding: Holding, of handle: AreaHandle?) {
    let permission = holding.permission
    holding.way = nil
    do throws(Errno) {
      let memory = try holding.manager.sealedMemory(isNeeded: true)
      if let word = try? memory.window.word(at: permission.ownerOffset) {
        let found = holding.manager.ownerWords.withLock { _ in word.exchange(Permission.free) }
        if found != permission.ownedValue {
          log.warning(
            "owner word \(permission.ownerOffset) of region \"\(holding.manager.name)\" held \(found), not \(permission.ownedValue)"
          )
        }
      }
    } catch {
      log.error("an owner word of region \"\(holding.manager.name)\" cannot be freed: \(error)")
    }
    forget(holding)
    permissions.withLock { table in
      table.remove(holding)
      handle?.phase = .idle
    }
    holding.manager.endUse()
  }

  func forget(_ holding: Holding) {
    guard let slot = holding.slot else { return }
    do throws(Errno) {
      try storage.files.forget(slot)
    } catch {
      log.error("a permission of region \"\(name)\" cannot be forgotten: \(error)")
    }
  }

  /// Nobody sleeps on words that are not his.
  func endSleeps(in area: Permission, _ reason: Abandonment = .gone) {
    let tokens = state.withLock { state in
      state.sleepers.buckets.filter { area.beginOffset <= $0.key && $0.key < area.endOffset }
        .flatMap { $0.value.waits.keys }
    }
    for token in tokens { parking.abandon(token: token, reason) }
  }
}
