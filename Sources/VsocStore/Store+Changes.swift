// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import SystemPackage
package import VsocConfiguration
package import VsocEngine
package import VsocProtocol

/// Changes while the store is in use. Each is in the directory when the call returns; if it throws,
/// nothing has changed.
///
/// Calls wait for the disk, one after the other.
extension Store {
  /// Makes regions, all of them or none, with files of zeros but for the headers.
  ///
  /// The files come first and then the layout: a file that no layout names is removed at the next
  /// start.
  ///
  /// - Throws: EEXIST: there is one of the name. ENOSPC, EDQUOT: the disk has no room for all of
  ///   their memory.
  package func add(
    _ regions: [RegionConfiguration], _ headers: [RegionHeader]
  ) throws(Errno) {
    precondition(regions.map(\.name) == headers.map(\.name), "a header for each region")
    try state.withLock { state throws(Errno) in
      var names = Set(state.regions.map(\.name))
      for region in regions where !names.insert(region.name).inserted { throw .fileExists }
      // A marker that is left over would take a new region of the name with it.
      if !state.destroyed.isEmpty { try save(state.regions, &state) }
      try prepare(state.regions + regions)
      do throws(Errno) {
        for header in headers { try makeFile(header) }
        try files.synchronize()
      } catch {
        for header in headers { try? files.remove(StoredName(header.name, .region).file) }
        try? directory.discard(StoreContents.layout)
        throw error
      }
      do throws(Errno) {
        try publish(state.regions + regions, &state)
      } catch {
        if restore(&state) {
          for header in headers { try? files.remove(StoredName(header.name, .region).file) }
        }
        throw error
      }
    }
  }

  private func makeFile(_ header: RegionHeader) throws(Errno) {
    let new = StoredName(header.name, .new).file
    try files.remove(new)
    let file = try files.create(new)
    do throws(Errno) {
      try file.allocate(UInt64(header.geometry.size))
      try file.write(header.layoutBytes, at: 0)
      try file.write(header.signalBytes, at: UInt64(header.geometry.shmSignalOffset))
      try file.synchronize()
      try files.rename(new, to: StoredName(header.name, .region).file)
    } catch {
      try? files.remove(new)
      throw error
    }
  }

  /// Destroys a region. Works on a full disk as well: what makes it final is an empty file.
  ///
  /// - Throws: ENOENT: there is none of the name.
  package func remove(_ name: RegionName) throws(Errno) {
    try state.withLock { state throws(Errno) in
      guard let index = state.regions.firstIndex(where: { $0.name == name }) else {
        throw .noSuchFileOrDirectory
      }
      let marker = StoredName(name, .gone).file
      do throws(Errno) {
        _ = try files.create(marker)
        try files.synchronize()
      } catch {
        try? files.remove(marker)
        throw error
      }
      state.regions.remove(at: index)
      state.found.remove(name)
      state.destroyed.insert(name)
      // The region is gone, whatever becomes of these: as long as the layout could not be written,
      // the marker stays.
      try? files.remove(StoredName(name, .region).file)
      try? save(state.regions, &state)
    }
  }

  /// Keeps owners and modes of regions, and nothing else that is said of them. Regions that the
  /// store does not have are passed over. Whoever calls from several threads sees to the order.
  package func keepAccess(of changed: [RegionConfiguration]) throws(Errno) {
    try state.withLock { state throws(Errno) in
      let byName = Dictionary(changed.map { ($0.name, $0) }) { $1 }
      var regions = state.regions
      for index in regions.indices {
        guard let region = byName[regions[index].name] else { continue }
        regions[index].guest = region.guest
        regions[index].host = region.host
      }
      if regions != state.regions { try save(regions, &state) }
    }
  }

  /// Changes the size of a region's file and what its header says; what is in the file stays, as
  /// far as it fits. Nobody may have mapped what is cut off.
  ///
  /// At no moment is the file shorter than the layout says: a longer one is cut at the next start.
  ///
  /// - Throws: ENOENT: there is no such region. ENOSPC, EDQUOT: the disk has no room.
  package func resize(to header: RegionHeader) throws(Errno) {
    try state.withLock { state throws(Errno) in
      guard let index = state.regions.firstIndex(where: { $0.name == header.name }),
        let file = try files.open(StoredName(header.name, .region).file)
      else { throw .noSuchFileOrDirectory }
      let old = UInt64(state.regions[index].geometry.size)
      let new = UInt64(header.geometry.size)
      let oldHeader = try file.read(header.layoutBytes.count, at: 0)
      var regions = state.regions
      regions[index].geometry = header.geometry
      try prepare(regions)
      do throws(Errno) {
        try file.allocate(new)
        try file.write(header.layoutBytes, at: 0)
        try file.synchronize()
      } catch {
        try? file.write(oldHeader, at: 0)
        try? file.truncate(to: old)
        try? directory.discard(StoreContents.layout)
        throw error
      }
      do throws(Errno) {
        try publish(regions, &state)
      } catch {
        if restore(&state) {
          try? file.write(oldHeader, at: 0)
          try? file.truncate(to: old)
        }
        throw error
      }
      // If that fails, the rest is there but is no part of the region.
      try? file.truncate(to: new)
    }
  }

  /// Keeps owner and mode of the mount's root directory.
  package func setRoot(_ root: RootAccess) throws(Errno) {
    try state.withLock { state throws(Errno) in
      guard root != state.root else { return }
      do throws(Errno) {
        try directory.replace(StoreContents.root, root.storedText)
      } catch {
        // It may have taken its place before that failed.
        if let old = state.root {
          try? directory.replace(StoreContents.root, old.storedText)
        } else {
          try? directory.remove(StoreContents.root)
        }
        throw error
      }
      state.root = root
    }
  }

  // MARK: - The layout

  private func save(_ regions: [RegionConfiguration], _ state: inout State) throws(Errno) {
    try prepare(regions)
    try publish(regions, &state)
  }

  /// Writes the layout that is to come, so that what needs room on the disk is done before anything
  /// has changed.
  private func prepare(_ regions: [RegionConfiguration]) throws(Errno) {
    let text = Layout.text(of: regions)
    guard text.utf8.count <= LayoutFile.maximumSize else { throw .noSpace }
    try directory.prepare(StoreContents.layout, text)
  }

  private func publish(_ regions: [RegionConfiguration], _ state: inout State) throws(Errno) {
    try directory.publish(StoreContents.layout)
    for name in state.destroyed { try files.remove(StoredName(name, .gone).file) }
    state.destroyed = []
    state.regions = regions
  }

  /// After a change that failed, of which it is not known how far it got: makes sure that the
  /// layout is the one of before. If that fails too, what the change has made must stay, as the
  /// next start may find either layout.
  private func restore(_ state: inout State) -> Bool {
    (try? save(state.regions, &state)) != nil
  }
}
