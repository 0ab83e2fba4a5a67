// SPDX-License-Identifier: Apache-2.0

internal import DaemonLog
package import FuseSession
internal import Glibc
internal import LinuxSystem
package import Logging
internal import Synchronization
internal import SystemPackage
internal import VsocConfiguration
package import VsocEngine
internal import VsocProtocol

/// The tree of SPEC §2 over an engine: translates what the kernel asks into what regions do.
///
/// It has no thread of its own and may be called by any number of them. Its locks guard the tables
/// named with them and are held for no longer than a look into one: never across a reply, nor a
/// call of the engine.
package final class VsocFileSystem: FileSystem {
  package let engine: Engine
  let version: String
  let owner: RootAccess
  let defaultGeometry: RegionGeometry
  let mountTime: Int64
  let rootAccess: Lock<RootAccess>
  let handles: Lock<HandleTable>
  let areaNodes: AreaNodes
  /// Bytes of texts and listings that somebody has open.
  private static let textCapacity = 32 << 20
  let rootListing: SharedVersions<[DirectoryEntry]>
  private let layout: SharedVersions<[UInt8]>
  /// Nil if it is not mounted.
  let own = Lock<OwnAccess?>(nil)
  /// Nil if there are none.
  let links: DeviceLinks?
  /// Nil if nobody can connect.
  let sockets = Lock<(any SocketBinding)?>(nil)
  /// Looks into callers.
  let looking: any Looking
  let claims: ClaimThreads
  private let hasComplained = Atomic(false)
  private let currentMode = Lock(MemoryMode.served)
  private let interrupts: InterruptQueue
  let log: DaemonLog
  package let logger: Logger
  /// The text of `.vsocfs/layout` for the regions there are.
  private let layoutText: @Sendable ([RegionConfiguration]) -> [UInt8]
  /// Makes owner and mode of the root directory last as long as the regions.
  private let keepRoot: @Sendable (RootAccess) throws -> Void

  /// - Parameters:
  ///   - root: owner and mode of the root directory.
  ///   - defaultGeometry: what mkdir(2) makes.
  init(
    engine: Engine, root: RootAccess, defaultGeometry: RegionGeometry, version: String,
    interrupts: InterruptQueue, looking: any Looking, claims: ClaimThreads,
    layoutText: @escaping @Sendable ([RegionConfiguration]) -> [UInt8],
    keepRoot: @escaping @Sendable (RootAccess) throws -> Void, links: DeviceLinks? = nil,
    log: DaemonLog
  ) {
    self.engine = engine
    let trusted = UserShares.Trusted.current
    handles = Lock(HandleTable(trusted: trusted))
    areaNodes = AreaNodes(trusted: trusted)
    let texts = UserQuota(UserShares(of: Self.textCapacity, trusted: trusted))
    rootListing = SharedVersions(quota: texts)
    layout = SharedVersions(quota: texts)
    self.version = version
    self.defaultGeometry = defaultGeometry
    self.interrupts = interrupts
    self.looking = looking
    self.claims = claims
    self.layoutText = layoutText
    self.keepRoot = keepRoot
    owner = RootAccess(uid: root.uid, gid: root.gid, mode: 0)
    rootAccess = Lock(root)
    self.links = links
    self.log = log
    logger = log.logger
    mountTime = Int64(time(nil))
  }

  /// How `data` is opened from now on; to be set before the first open.
  var mode: MemoryMode {
    get { currentMode.withLock { $0 } }
    set { currentMode.withLock { $0 = newValue } }
  }

  /// Closes what the kernel had open, and lets go of the session and of what belongs to it.
  package func disconnect() {
    for file in handles.withLock({ $0.takeAll() }) { file.close() }
    sockets.withLock { $0 = nil }
    mode = .served
  }

  package func waitsItself(_ thread: Int32) -> Bool {
    own.withLock { $0 }?.isOpening(thread) ?? false || mode.pageCache?.isOpening(thread) ?? false
  }

  /// Changes owner or mode of the root directory.
  func setRoot(_ change: (inout RootAccess) -> Void) throws(Errno) {
    try rootAccess.withLock { root throws(Errno) in
      var new = root
      change(&new)
      do {
        try keepRoot(new)
      } catch {
        throw error as? Errno ?? .ioError
      }
      root = new
    }
  }

  /// What a file of `.vsocfs` says now.
  ///
  /// - Throws: ENFILE: there is no room for it.
  func text(_ fact: Node.Fact, for caller: Caller) throws(Errno) -> SharedVersion<[UInt8]> {
    switch fact {
    case .version: return SharedVersion(Array("\(version)\n".utf8))
    case .stats: return SharedVersion(Array(statisticsText.utf8))
    case .layout:
      let text = layout.version(engine.generation, for: caller.uid) {
        let bytes = layoutText(engine.regions.map(\.configuration))
        return (bytes, bytes.count)
      }
      guard let text else { throw .tooManyOpenFilesInSystem }
      return text
    }
  }

  package func interrupted(_ token: UInt64) {
    interrupts.add(token)
  }

  /// The handle of a managed region that a caller has named by one of its descriptors.
  ///
  /// - Throws: EPERM: it is none, or the caller may not be looked at. What keeps the name from being read.
  func handle(_ seen: Seen) throws(Errno) -> AreaHandle {
    switch seen.node {
    case .found(let node):
      guard let handle = areaNodes[node]?.handle else { throw .notPermitted }
      return handle
    case .noWord(let error): throw error
    case .notFound, nil: throw .notPermitted
    case .refused:
      // Once.
      if !hasComplained.exchange(true, ordering: .relaxed) {
        logger.warning(
          "a permission was asked for by way of a manager's descriptor, but the daemon may not look at the caller (thread \(seen.process)): that needs CAP_SYS_PTRACE, or the caller to be of the daemon's user"
        )
      }
      throw .notPermitted
    }
  }

  package func getStatistics(_ request: consuming Request<Answer.Statistics>) {
    let page = UInt64(RegionGeometry.pageSize)
    let used = engine.usedBytes / page
    // Without a cap it is the machine's memory that limits.
    let total = (engine.sizeCap ?? MachineMemory.bytes) / page
    request.reply(
      FileSystemStatistics(
        blockSize: page, blocks: total, freeBlocks: total > used ? total - used : 0,
        files: UInt64(engine.regionCount), nameLength: UInt64(RegionName.maximumLength)))
  }
}
