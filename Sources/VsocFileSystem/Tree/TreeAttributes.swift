// SPDX-License-Identifier: Apache-2.0

package import FuseSession
internal import Glibc
internal import LinuxSystem
internal import SystemPackage
internal import VsocConfiguration
internal import VsocEngine
internal import VsocProtocol

extension EndAccess {
  /// x wherever there is r: who may read the files may also enter.
  var directoryMode: UInt32 { mode | (mode & 0o444) >> 2 }

  /// The mode of files that chmod(2), or mkdir(2), asks for by that of one of them or of their directory.
  ///
  /// - Throws: EPERM: it has bits that would not be kept.
  static func mode(
    of requested: UInt32, isDirectory: Bool
  ) throws(Errno) -> UInt32 {
    let bits = requested & 0o7777
    let access = EndAccess(uid: 0, gid: 0, mode: bits)
    let kept = isDirectory ? access.directoryMode : access.mode
    guard bits & ~kept == 0 else { throw .notPermitted }
    return access.mode
  }
}

extension RootAccess {
  /// What chmod(2) of the root directory may ask for: the sticky bit, by which nobody removes the regions of
  /// others, but no setuid and setgid.
  fileprivate static func mode(of requested: UInt32) throws(Errno) -> UInt32 {
    guard requested & 0o6000 == 0 else { throw .notPermitted }
    return requested & 0o1777
  }
}

/// What stat(2) tells of each node.
extension VsocFileSystem {
  /// The size that stat shows for the stream files. They are empty to read and have no position,
  /// but the kernel takes a write beyond the size for an extending one and keeps all others out
  /// while it lasts.
  static let streamSize: UInt64 = 0x7fff_f000

  /// ENOENT: the region is gone.
  ///
  /// - Parameter area: which open file of a managed region it is, if it is one.
  func attributes(of node: Node, _ area: AreaNode? = nil) -> NodeAttributes? {
    switch node {
    case .root:
      let root = rootAccess.withLock { $0 }
      return directory(
        node, uid: root.uid, gid: root.gid, mode: root.mode, links: 3 + engine.regionCount)
    case .facts:
      return directory(node, uid: owner.uid, gid: owner.gid, mode: 0o555, links: 2)
    case .own:
      return directory(node, uid: geteuid(), gid: owner.gid, mode: 0o700, links: 2)
    case .fact:
      return file(node, uid: owner.uid, gid: owner.gid, mode: 0o444, size: 0, time: mountTime)
    case .end(let end):
      guard let region = engine.region(end.region) else { return nil }
      let access = region.configuration.access(of: end.end)
      var result = directory(
        node, uid: access.uid, gid: access.gid, mode: access.directoryMode,
        links: end.end == .guest ? 3 : 2)
      result.time = region.creationTime
      return result
    case .file(let end, let kind):
      guard let region = engine.region(end.region) else { return nil }
      let configuration = region.configuration
      let access = configuration.access(of: end.end)
      let (mode, size): (UInt32, UInt64) =
        switch kind {
        case .data where !region.isManaged: (access.mode, UInt64(configuration.geometry.size))
        case .data, .permissions: (access.mode, UInt64(area?.handle?.size ?? 0))
        case .signal, .doorbell: (access.mode, Self.streamSize)
        case .info: (access.mode & 0o444, 0)
        case .ivshmem: (access.mode, 0)
        }
      var result = file(
        node, uid: access.uid, gid: access.gid, mode: mode, size: size, time: region.creationTime)
      if kind == .data { result.blocks = size / 512 }
      if kind == .ivshmem { result.mode = S_IFSOCK | mode }
      return result
    }
  }

  private func directory(
    _ node: Node, uid: UInt32, gid: UInt32, mode: UInt32, links: Int
  ) -> NodeAttributes {
    var result = NodeAttributes(inode: node.number, mode: S_IFDIR | mode, uid: uid, gid: gid)
    result.links = UInt32(links)
    result.time = mountTime
    return result
  }

  private func file(
    _ node: Node, uid: UInt32, gid: UInt32, mode: UInt32, size: UInt64, time: Int64
  ) -> NodeAttributes {
    var result = NodeAttributes(inode: node.number, mode: S_IFREG | mode, uid: uid, gid: gid)
    result.size = size
    result.time = time
    return result
  }

  package func getAttributes(
    _ request: consuming Request<Answer.Attributes>, node number: UInt64
  ) {
    let isOwn = waitsItself(request.caller.pid)
    guard let (node, area) = find(number),
      let attributes = isOwn ? ownAttributes(of: node, area) : attributes(of: node, area)
    else { return request.fail(.noSuchFileOrDirectory) }
    request.reply(attributes)
  }

  /// What the daemon's own threads are told while they open a region's memory: a daemon without
  /// root's rights must be able to do so whatever the mode. The kernel asks again for whoever comes
  /// next.
  func ownAttributes(of node: Node, _ area: AreaNode? = nil) -> NodeAttributes? {
    guard var attributes = attributes(of: node, area) else { return nil }
    if geteuid() != 0 {
      attributes.uid = geteuid()
      attributes.mode = attributes.mode & S_IFMT | 0o700
    }
    return attributes
  }

  package func setAttributes(
    _ request: consuming Request<Answer.Attributes>, node number: UInt64,
    _ changes: AttributeChanges
  ) {
    guard let (node, _) = find(number) else { return request.fail(.noSuchFileOrDirectory) }
    do throws(Errno) {
      try change(node, changes)
    } catch {
      return request.fail(error)
    }
    getAttributes(request, node: number)
  }

  private func change(_ node: Node, _ changes: AttributeChanges) throws(Errno) {
    switch node {
    case .root:
      let mode = try changes.mode.map { mode throws(Errno) in try RootAccess.mode(of: mode) }
      try setRoot { root in
        if let mode { root.mode = mode }
        if let uid = changes.uid { root.uid = uid }
        if let gid = changes.gid { root.gid = gid }
      }
    case .facts, .fact, .own:
      guard changes.mode == nil, changes.uid == nil, changes.gid == nil else {
        throw .notPermitted
      }
    case .end(let end), .file(let end, _):
      guard let region = engine.region(end.region) else { throw .noSuchFileOrDirectory }
      let mode = try changes.mode.map { mode throws(Errno) in
        try EndAccess.mode(of: mode, isDirectory: node.isDirectory)
      }
      // The size first: it is what can fail. That of any other file is of no meaning.
      // A size of 0 is also how the kernel tells of O_TRUNC, which does nothing here.
      if let size = changes.size, size != 0, case .file(_, .data) = node {
        try engine.resize(region, to: size)
      }
      guard changes.mode != nil || changes.uid != nil || changes.gid != nil else { return }
      try engine.setAccess(of: end.end, of: region) { access in
        access = EndAccess(
          uid: changes.uid ?? access.uid, gid: changes.gid ?? access.gid,
          mode: mode ?? access.mode)
      }
    }
  }
}
