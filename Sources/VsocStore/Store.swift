// SPDX-License-Identifier: Apache-2.0

package import LinuxSystem
internal import Synchronization
package import SystemPackage
package import VsocConfiguration
package import VsocEngine
package import VsocProtocol

/// The directory in which regions outlive the daemon (`--store`): their files, the layout, owners
/// and modes. One process has it at a time.
///
/// Whatever was changed before a SIGKILL of the daemon is there at the next start; a change that it
/// interrupted is there as a whole or not at all. Layout, owners, modes, and the making and
/// destroying of regions also survive a failure of power once the call has returned; of what is in
/// a region, what clients have synchronized does.
///
/// ```
/// vsocfs-store     says what this is, and the format
/// lock             locked as long as a daemon uses the store; its process id, and its guard's
/// layout.json5     the regions, as `.vsocfs/layout` has them
/// root             owner and mode of the mount's root directory
/// permissions      areas and owner words that are held (`PermissionJournal`)
/// regions/         a file for each region (`StoredName`)
/// areas/           a file for the area of each open handle of a managed region
/// ```
///
/// `layout.json5` and `root` are never written in place: a whole new file takes their name.
package final class Store: Sendable {
  struct State {
    var regions: [RegionConfiguration]
    var root: RootAccess?
    /// Regions with contents from before.
    var found: Set<RegionName>
    /// Destroyed regions that the layout in the directory may name still, each with its marker.
    var destroyed: Set<RegionName> = []
  }

  let permissions: PermissionJournal
  let directory: Directory
  let files: Directory
  let areas: Directory
  /// The last number that an area's file got.
  let lastArea = Atomic<UInt64>(0)
  /// Held for as long as this lives.
  private let lock: StoreLock
  let state: Lock<State>

  /// Opens a store, or makes one in a directory that is empty or does not exist, and completes what
  /// a killed daemon left undone.
  ///
  /// - Parameters:
  ///   - path: of the directory. It is not needed again, so it may be relative.
  ///   - deadline: for how long a process that uses the store is given to end.
  ///   - log: told, line by line, of what was repaired.
  package init(
    path: String, until deadline: MonotonicInstant = .now, log: (String) -> Void = { _ in }
  ) throws(ConfigurationError) {
    let directory: Directory
    do throws(Errno) {
      try Directory.ensure(path: path)
      directory = try Directory(path: path)
    } catch {
      throw ConfigurationError(source: path, problem: "\(error)")
    }
    let lock = try StoreLock(in: directory, until: deadline)
    try StoreIdentity.ensure(in: directory, lock)
    try directory.attempt(on: StoreLock.name) { () throws(Errno) in try lock.announce() }
    let files = try Self.completed(directory)
    let areas = try Self.ensureAreas(in: directory)
    let contents = try StoreContents(of: directory, regions: files, areas: areas)
    // From here on it is known to be sound, and is changed.
    try Self.settle(contents, in: directory, files, log)
    permissions = try Self.recoverPermissions(contents, in: directory, files, areas, log)
    state = Lock(
      State(
        regions: contents.regions, root: contents.root,
        found: Set(contents.regions.map(\.name))))
    self.directory = directory
    self.files = files
    self.areas = areas
    self.lock = lock
  }

  /// Another process that may write to regions after the end of this one has the lock as long.
  package func share(with keeper: any DescriptorKeeper, process: Int32) throws(Errno) {
    try lock.share(with: keeper, process: process)
  }

  /// Calls with a file that is in the file system of all others, to be tried.
  package func withFile(_ body: (Int32) throws(Errno) -> Void) throws(Errno) {
    try lock.withFile(body)
  }

  // MARK: - What there is

  /// All regions, in the order of their indices, which begin at 1.
  package var regions: [RegionConfiguration] { state.withLock { $0.regions } }

  /// Owner and mode of the root directory; nil until they are set.
  package var root: RootAccess? { state.withLock { $0.root } }

  /// Whether a region was there when the store was opened: others may have used it before.
  package func wasFound(_ name: RegionName) -> Bool {
    state.withLock { $0.found.contains(name) }
  }

  /// Opens the file that holds a region's memory. Its size is that of the region.
  package func open(_ name: RegionName) throws(Errno) -> Descriptor {
    guard let file = try files.open(StoredName(name, .region).file) else {
      throw .noSuchFileOrDirectory
    }
    return file
  }
}
