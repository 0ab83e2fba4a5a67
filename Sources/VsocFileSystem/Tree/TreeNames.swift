// SPDX-License-Identifier: Apache-2.0

package import FuseSession
internal import Glibc
internal import LinuxSystem
internal import Logging
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// Names: looking them up, listing them, making and destroying regions.
extension VsocFileSystem {
  /// Seconds for which the kernel may keep a name. Names only go by rmdir, which the kernel sees.
  private static let entryTimeout = 3600.0

  package func lookup(
    _ request: consuming Request<Answer.Entry>, parent number: UInt64, name: String
  ) {
    guard let parent = Node(number) else { return request.fail(.noSuchFileOrDirectory) }
    if parent == .own { return lookupHidden(request, OwnAccess.HiddenName(name)) }
    if parent == .root, name == Node.ownName { return lookupOwn(request) }
    guard let node = child(of: parent, named: name), let attributes = attributes(of: node) else {
      return request.fail(.noSuchFileOrDirectory)
    }
    if case .file(let end, .ivshmem) = node {
      lookupSocket(request, end, attributes)
    } else if isManaged(node) {
      // The next one who looks gets another.
      guard let area = areaNodes.add(node, for: request.caller.uid) else {
        return request.fail(.tooManyOpenFilesInSystem)
      }
      reply(request, area, attributes)
    } else {
      request.reply(node: node.number, attributes, entryTimeout: Self.entryTimeout)
    }
  }

  /// Whether each open handle of the file reaches something else.
  private func isManaged(_ node: Node) -> Bool {
    guard case .file(let end, let file) = node, file.canHoldPermission else { return false }
    return engine.region(end.region)?.isManaged ?? false
  }

  /// Tells of a node with a lookup that is counted already.
  private func reply(
    _ request: consuming Request<Answer.Entry>, _ area: AreaNode, _ attributes: NodeAttributes
  ) {
    // A caller that is gone by now will not forget what it never heard of.
    if !request.reply(node: area.number, attributes, entryTimeout: 0) {
      areaNodes.forget(area.number, 1)
    }
  }

  /// The daemon's own directory. The kernel keeps the name for good: to look it up again it would need the lock
  /// of the directory above, which clients can hold.
  private func lookupOwn(_ request: consuming Request<Answer.Entry>) {
    guard waitsItself(request.caller.pid), let attributes = ownAttributes(of: .own) else {
      return request.fail(.noSuchFileOrDirectory)
    }
    request.reply(node: Node.own.number, attributes, entryTimeout: 1e9)
  }

  /// The daemon's own name of a region's memory, whose node is that of `data`; or of an area, whose
  /// node is the one that its holder has open. Nobody else is to find it.
  private func lookupHidden(
    _ request: consuming Request<Answer.Entry>, _ name: OwnAccess.HiddenName?
  ) {
    guard waitsItself(request.caller.pid) else { return request.fail(.noSuchFileOrDirectory) }
    switch name {
    case .socket, nil:
      // There is none before it is bound, and nobody else looks for it.
      request.fail(.noSuchFileOrDirectory)
    case .region(let region):
      let node = Node.file(Node.RegionEnd(region: region, end: .guest), .data)
      guard let attributes = ownAttributes(of: node) else {
        return request.fail(.noSuchFileOrDirectory)
      }
      request.reply(node: node.number, attributes, entryTimeout: 0)
    case .area(let number):
      guard let area = areaNodes[number],
        let attributes = ownAttributes(of: area.node, area)
      else { return request.fail(.noSuchFileOrDirectory) }
      areaNodes.addLookup(number)
      reply(request, area, attributes)
    }
  }

  /// Most node ids say what they mean, so that there is nothing to forget.
  package func forget(node: UInt64, count: UInt64) {
    areaNodes.forget(node, count)
  }

  private func child(of parent: Node, named name: String) -> Node? {
    switch parent {
    case .root:
      if name == Node.factsName { return .facts }
      guard let name = RegionName(name), let region = engine.region(named: name) else {
        return nil
      }
      return .end(Node.RegionEnd(region: region.index, end: .guest))
    case .facts:
      return Node.Fact.allCases.first { $0.name == name }.map { .fact($0) }
    case .end(let end):
      if name == Node.peerName, end.end == .guest {
        return .end(Node.RegionEnd(region: end.region, end: .host))
      }
      return Node.EndFile.all(of: end.end).first { $0.name == name }.map { .file(end, $0) }
    case .fact, .own, .file:
      return nil
    }
  }

  /// The entries of a directory, without `.` and `..`.
  private func children(of directory: Node) -> [(name: String, node: Node)] {
    switch directory {
    case .root:
      return [(Node.factsName, .facts)]
        + engine.regions.map { region in
          (
            region.name.description,
            .end(Node.RegionEnd(region: region.index, end: .guest))
          )
        }
    case .facts:
      return Node.Fact.allCases.map { ($0.name, .fact($0)) }
    case .end(let end):
      let files = Node.EndFile.all(of: end.end).map { ($0.name, Node.file(end, $0)) }
      guard end.end == .guest else { return files }
      return files + [(Node.peerName, .end(Node.RegionEnd(region: end.region, end: .host)))]
    case .fact, .own, .file:
      return []
    }
  }

  private func parent(of directory: Node) -> Node {
    if case .end(let end) = directory, end.end == .host {
      return .end(Node.RegionEnd(region: end.region, end: .guest))
    }
    return .root
  }

  /// What a directory holds now.
  ///
  /// - Throws: ENFILE: there is no room for it.
  func listing(
    of directory: Node, for caller: Caller
  ) throws(Errno) -> SharedVersion<[DirectoryEntry]> {
    guard directory == .root else { return SharedVersion(entries(of: directory)) }
    let listing = rootListing.version(engine.generation, for: caller.uid) {
      let entries = entries(of: .root)
      return (entries, entries.count * MemoryLayout<DirectoryEntry>.stride)
    }
    guard let listing else { throw .tooManyOpenFilesInSystem }
    return listing
  }

  private func entries(of directory: Node) -> [DirectoryEntry] {
    let all =
      [(".", directory), ("..", parent(of: directory))]
      + children(of: directory).map { ($0.name, $0.node) }
    return all.enumerated().map { position, entry in
      DirectoryEntry(
        name: entry.0, inode: entry.1.number,
        mode: entry.1.isDirectory ? S_IFDIR : entry.1.isSocket ? S_IFSOCK : S_IFREG,
        nextOffset: UInt64(position) + 1)
    }
  }

  package func makeDirectory(
    _ request: consuming Request<Answer.Entry>, parent number: UInt64, name: String, mode: UInt32
  ) {
    guard Node(number) == .root else { return request.fail(.notPermitted) }
    guard let regionName = RegionName(name) else {
      return request.fail(
        name.utf8.count > RegionName.maximumLength ? .fileNameTooLong : .invalidArgument)
    }
    let caller = request.caller
    let region: Region
    do throws(Errno) {
      let access = EndAccess(
        uid: caller.uid, gid: caller.gid, mode: try EndAccess.mode(of: mode, isDirectory: true))
      region = try makeRegion(
        RegionConfiguration(
          name: regionName, geometry: defaultGeometry, guest: access, host: access),
        by: caller.uid)
    } catch {
      return request.fail(error)
    }
    let node = Node.end(Node.RegionEnd(region: region.index, end: .guest))
    guard let attributes = attributes(of: node) else {
      return request.fail(.noSuchFileOrDirectory)
    }
    request.reply(node: node.number, attributes, entryTimeout: Self.entryTimeout)
  }

  /// With its link in /dev, or not at all.
  private func makeRegion(
    _ configuration: RegionConfiguration, by maker: UInt32
  ) throws(Errno) -> Region {
    try links?.add(configuration.name)
    do throws(Errno) {
      let region = try engine.create(configuration, by: maker)
      logger.info("region \"\(configuration.name)\" was made")
      return region
    } catch {
      links?.remove(configuration.name)
      throw error
    }
  }

  package func removeDirectory(
    _ request: consuming Request<Answer.Nothing>, parent number: UInt64, name: String
  ) {
    guard Node(number) == .root, let name = RegionName(name) else {
      return request.fail(.notPermitted)
    }
    do throws(Errno) {
      let region = try engine.destroy(name)
      if case .passthrough(let backings) = mode { backings.forget(region.index) }
      links?.remove(name)
      logger.info("region \"\(name)\" was removed")
    } catch {
      return request.fail(error)
    }
    request.reply()
  }
}
