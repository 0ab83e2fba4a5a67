// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import LinuxSystem
internal import Synchronization
internal import SystemPackage
internal import VsocPeers

/// How the daemon uses files of its own mount: by names that only its own threads find, in a directory that
/// nobody else can enter.
///
/// A client that reads a directory into a page of his that does not come holds the directory's lock, and
/// with one who waits to change it, everybody else is kept out. So no lock is needed of a directory that clients
/// reach: the kernel knows the way to the daemon's own, whose name it keeps (`holdDirectory`).
///
/// What one of them asks meanwhile is answered without waiting for a worker (`Session`).
final class OwnAccess: Sendable {
  private let mountPoint: String
  /// The file system's number. Somebody may have unmounted it, or put something else in its place.
  let device: Int32
  /// The threads that are opening such a file.
  private let openers = Lock<Set<Int32>>([])
  private let lastSocket = Atomic<UInt64>(0)
  private let directory = Lock<Held?>(nil)
  private let pin = Lock(KnownPin())

  /// Of what has just been mounted there.
  init(mountPoint: String) throws(Errno) {
    self.mountPoint = mountPoint
    device = try check { unsafe vsocfs_mounted_device(mountPoint) }
  }

  // MARK: The way to the directory

  /// Sees to it that the kernel does not forget the daemon's own directory, if this process may hold it without
  /// keeping the mount in use: by way of a copy of the mount. Otherwise it forgets it when memory is short.
  ///
  /// As long as it is held, the file system stays, also when nobody has it mounted any more: `mountsChanged`
  /// lets it go then.
  func holdDirectory() throws(Errno) {
    guard geteuid() == 0 else {
      // It is known from now on.
      return try asOwn { () throws(Errno) in
        let root = try MountedRoot(of: mountPoint, device: device, isHidden: false)
        _ = try root.openPlace(Node.ownName)
      }
    }
    let place = try asOwn { () throws(Errno) in
      try MountedRoot(of: mountPoint, device: device, isHidden: true).openPlace(Node.ownName)
    }
    let mounts = try MountEvents()
    let held = Held(place, mounts)
    directory.withLock { $0 = held }
  }

  /// Has `token` reported when mounts have changed.
  func watchMounts(_ epoll: borrowing Epoll, token: UInt64) throws(Errno) {
    guard let held = directory.withLock({ $0 }) else { return }
    try held.mounts.add(to: epoll, token: token)
  }

  /// Lets the directory go if the file system is mounted nowhere any more that this process sees.
  func mountsChanged() throws(Errno) {
    guard let held = directory.withLock({ $0 }), try !held.mounts.contains(device: device) else {
      return
    }
    directory.withLock { $0 = nil }
    // The last to hold it ends the file system, and waits until clients' stores are written back.
    try Thread.start(name: "vsoc-umount") { held.letGo() }
  }

  private final class Held: Sendable {
    private let place: Lock<Descriptor?>
    let mounts: MountEvents

    init(_ place: consuming Descriptor, _ mounts: consuming MountEvents) {
      self.place = Lock(place)
      self.mounts = mounts
    }

    func letGo() { _ = place.withLock { $0.take() } }
  }

  // MARK: Its names

  /// Whether this thread of the daemon is using such a name.
  func isOpening(_ thread: Int32) -> Bool {
    openers.withLock { $0.contains(thread) }
  }

  private func asOwn<Value: ~Copyable>(
    _ body: () throws(Errno) -> Value
  ) throws(Errno) -> Value {
    let thread = vsocfs_thread_id()
    openers.withLock { _ = $0.insert(thread) }
    defer { openers.withLock { _ = $0.remove(thread) } }
    return try body()
  }

  /// Opens a file to be read and written.
  func open(_ name: HiddenName) throws(Errno) -> Descriptor {
    try asOwn { () throws(Errno) in
      let path = "\(Node.ownName)/\(name)"
      return Descriptor(
        owning: try check { unsafe vsocfs_open_mounted(mountPoint, device, path) })
    }
  }

  /// Has the kernel ask for the attributes of a file.
  func status(_ file: borrowing Descriptor) throws(Errno) -> FileStatus {
    try asOwn { () throws(Errno) in try file.status() }
  }

  /// Before Linux 6.16 the kernel writes copies of pages, and the pages do not tell when they have arrived.
  private static let writesPagesThemselves = KernelRelease.current >= KernelRelease(6, 16)

  /// Waits until all that was stored is in the file. On an older kernel that takes the file's lock, which a
  /// client can hold.
  func synchronize(_ file: borrowing Descriptor) throws(Errno) {
    try file.writeBack()
    if Self.writesPagesThemselves { return }
    try asOwn { () throws(Errno) in try file.synchronize() }
  }

  /// Binds a socket to a node of the tree. If that can be, it does not keep the mount in use before
  /// somebody has connected.
  func bindSocket(to node: UInt64) throws(Errno) -> BoundSocket {
    try asOwn { () throws(Errno) in
      let isHidden = geteuid() == 0
      let root = try MountedRoot(of: mountPoint, device: device, isHidden: isHidden)
      // Not one that the kernel may remember.
      let number = lastSocket.wrappingAdd(1, ordering: .relaxed).newValue
      let path = root.path("\(Node.ownName)/\(HiddenName.socket(node, number))")
      let socket = try UnixSocket.listen(at: path, mode: 0o600)
      guard isHidden else { return BoundSocket(socket) }
      return BoundSocket(socket, pin: { [self] () throws(Errno) in try sharedPin() })
    }
  }

  /// One for all who keep the mount in use.
  private func sharedPin() throws(Errno) -> Pin {
    try pin.withLock { known throws(Errno) in
      if let pin = known.pin { return pin }
      let new = try Pin(mountPoint, device)
      known.pin = new
      return new
    }
  }

  private struct KnownPin { weak var pin: Pin? }

  /// Keeps the mount in use.
  private final class Pin: Sendable {
    private let root: MountedRoot

    init(_ mountPoint: String, _ device: Int32) throws(Errno) {
      root = try MountedRoot(of: mountPoint, device: device, isHidden: false)
    }
  }

  /// A name that only the daemon finds.
  enum HiddenName: Hashable, CustomStringConvertible {
    /// A region's memory, by index.
    case region(UInt32)
    /// An area, by the node that its holder has open.
    case area(UInt64)
    /// A socket that is to be bound, by the node of its file.
    case socket(UInt64, UInt64)

    private static let (regionPrefix, areaPrefix, socketPrefix) = ("memory", "area", "ivshmem")

    init?(_ name: String) {
      let parts = name.split(separator: "-", omittingEmptySubsequences: false)
      let numbers = parts.dropFirst().compactMap { UInt64($0) }
      guard let prefix = parts.first, numbers.count == parts.count - 1 else { return nil }
      switch (prefix, numbers.count) {
      case (Self.regionPrefix[...], 1):
        guard let index = UInt32(exactly: numbers[0]) else { return nil }
        self = .region(index)
      case (Self.areaPrefix[...], 1): self = .area(numbers[0])
      case (Self.socketPrefix[...], 2): self = .socket(numbers[0], numbers[1])
      default: return nil
      }
    }

    var description: String {
      switch self {
      case .region(let index): "\(Self.regionPrefix)-\(index)"
      case .area(let node): "\(Self.areaPrefix)-\(node)"
      case .socket(let node, let number): "\(Self.socketPrefix)-\(node)-\(number)"
      }
    }
  }
}
