// SPDX-License-Identifier: Apache-2.0

package import FuseSession
internal import LinuxSystem
internal import SystemPackage
internal import VsocEngine
internal import VsocProtocol

/// Opening and closing, and the way of a request from its handle to the open file.
extension VsocFileSystem {
  package func open(
    _ request: consuming Request<Answer.Opened>, node number: UInt64, flags: OpenFlags
  ) {
    if waitsItself(request.caller.pid) { return openOwn(request, number) }
    let found = find(number)
    switch found?.node {
    case .fact(let fact):
      let text: SharedVersion<[UInt8]>
      do throws(Errno) {
        text = try self.text(fact, for: request.caller)
      } catch {
        return request.fail(error)
      }
      finish(request, TextFile(text), .directIO)
    case .file(let end, let kind):
      guard let region = engine.region(end.region) else {
        return request.fail(.noSuchFileOrDirectory)
      }
      do throws(Errno) {
        // Who only wants to change the size touches nothing.
        let isResizer = kind == .data && flags.isWriteOnly && !region.isSealed
        let isText = kind == .info || kind == .permissions
        try region.beginUse(touchesMemory: !isText && !isResizer)
      } catch {
        return request.fail(error)
      }
      if let area = found?.area {
        openArea(request, area, kind, of: region, end.end, flags)
      } else {
        open(request, kind, of: region, end.end, flags)
      }
    case .root, .facts, .own, .end:
      request.fail(.isDirectory)
    case nil:
      request.fail(.noSuchFileOrDirectory)
    }
  }

  /// The region's use has begun, and ends with the file.
  private func open(
    _ request: consuming Request<Answer.Opened>, _ kind: Node.EndFile, of region: Region,
    _ end: End, _ flags: OpenFlags
  ) {
    switch kind {
    case .info:
      let file = TextFile(infoText(region, end), onClose: { region.endUse() })
      finish(request, file, .directIO)
    case .ivshmem:
      // The kernel does not ask.
      region.endUse()
      request.fail(.noSuchAddressOrDevice)
    case .signal:
      finish(request, SignalFile(region, end), Self.streamOptions)
    case .doorbell:
      finish(request, DoorbellFile(region, end, flags: flags), Self.streamOptions)
    case .permissions:
      let file = PermissionsFile(region, nil, calls(region, nil, flags))
      finish(request, file, [.directIO, .noFlush])
    case .data:
      openData(
        request,
        DataFile(
          region, end, isPageCache: mode.pageCache != nil, calls(region, nil, flags)),
        flags)
    }
  }

  private func calls(
    _ region: Region, _ area: AreaHandle?, _ flags: OpenFlags
  ) -> PermissionCalls {
    PermissionCalls(
      fileSystem: self, region: region, area: area, isWritable: flags.isWritable)
  }

  /// A write may wait for long, and must not keep anybody else from writing or closing.
  private static let streamOptions: OpenOptions = [.directIO, .stream, .parallelWrites, .noFlush]

  private func openData(
    _ request: consuming Request<Answer.Opened>, _ file: DataFile, _ flags: OpenFlags
  ) {
    let region = file.region
    do throws(Errno) {
      // Whoever may only write has nothing to map; truncate(1) opens the file so, and its handle
      // must not fix the size. Its writes come here, and do. Once it is fixed, all handles have to
      // be of one kind.
      guard !flags.isWriteOnly || region.isSealed else { return finish(request, file, .directIO) }
      switch mode {
      case .served:
        finish(request, file, .directIO)
      case .passthrough(let backings):
        let memory = try region.seal()
        let backing = try backings.backing(of: region.index, memory)
        let handle = try add(file, of: request.caller)
        // Where the kernel would let a write make the file longer, writes come here.
        let isOpen =
          memory.canBeGrownByWriters && flags.isWritable
          ? request.reply(handle: handle, mappingsOf: backing.file)
          : request.reply(handle: handle, backing: backing.file)
        if !isOpen { close(handle) }
      case .pageCache(let mapping):
        // One page cache is one inode's: the other end's has none.
        file.pages = try region.seal()
        guard file.end == .guest, let pages = file.pages else {
          return finish(request, file, .directIO)
        }
        open(request, file, pages, mapping)
      }
    } catch {
      file.close()
      request.fail(error)
    }
  }

  /// ENFILE: its user has as many open as he may.
  private func add(_ file: OpenFile, of caller: Caller) throws(Errno) -> UInt64 {
    guard let handle = handles.withLock({ $0.add(file, of: caller.uid) }) else {
      throw .tooManyOpenFilesInSystem
    }
    return handle
  }

  /// Answers an open with the file, or closes it.
  private func finish(
    _ request: consuming Request<Answer.Opened>, _ file: OpenFile,
    _ reply: (consuming Request<Answer.Opened>, UInt64) -> Bool
  ) {
    let handle: UInt64
    do throws(Errno) {
      handle = try add(file, of: request.caller)
    } catch {
      file.close()
      return request.fail(error)
    }
    // A caller that is gone by now will not release what it never got.
    if !reply(request, handle) { close(handle) }
  }

  private func finish(
    _ request: consuming Request<Answer.Opened>, _ file: OpenFile, _ options: OpenOptions
  ) {
    finish(request, file) { request, handle in request.reply(handle: handle, options) }
  }

  /// Opens a file of a managed region, each handle of which has an area of its own, or none. The
  /// region's use has begun, and ends with the file.
  private func openArea(
    _ request: consuming Request<Answer.Opened>, _ node: AreaNode, _ kind: Node.EndFile,
    of region: Region, _ end: End, _ flags: OpenFlags
  ) {
    guard node.beginOpen() else {
      region.endUse()
      return request.fail(.resourceBusy)
    }
    let area: OpenArea
    do throws(Errno) {
      area = try openArea(node, kind, of: region)
    } catch {
      node.endOpen()
      region.endUse()
      return request.fail(error)
    }
    let calls = calls(region, area.handle, flags)
    let file: OpenFile =
      kind == .permissions
      ? PermissionsFile(region, area, calls)
      : ManagedDataFile(region, end, isPageCache: mode.pageCache != nil, area, calls)
    if let backing = area.backing {
      finish(request, file) { request, handle in
        request.reply(handle: handle, mappingsOf: backing.file)
      }
    } else if let mapping = mode.pageCache, kind == .data {
      open(request, file, area.handle.file, mapping)
    } else {
      finish(request, file, [.directIO, .noFlush])
    }
  }

  private func openArea(
    _ node: AreaNode, _ kind: Node.EndFile, of region: Region
  ) throws(Errno) -> OpenArea {
    guard case .passthrough(let backings) = mode else {
      // In the page cache text and memory cannot be told apart.
      let place = kind == .data ? node.number : AreaHandle.noPlace
      let handle = try AreaHandle(of: region, place: place, isBacking: false)
      return OpenArea(handle, of: node, backing: nil)
    }
    let handle = try AreaHandle(of: region, place: node.number, isBacking: true)
    do throws(Errno) {
      return OpenArea(handle, of: node, backing: try backings.make(of: handle.file))
    } catch {
      handle.close()
      throw error
    }
  }

  /// The daemon itself opens a region's memory, or an area, to map it.
  private func openOwn(_ request: consuming Request<Answer.Opened>, _ number: UInt64) {
    guard let (node, area) = find(number), case .file(let end, _) = node,
      let pages = area?.handle?.file ?? engine.region(end.region)?.currentFile
    else { return request.fail(.noSuchFileOrDirectory) }
    switch mode {
    case .pageCache(let mapping):
      open(request, PagesFile(pages), pages, mapping)
    case .passthrough(let backings):
      // For somebody who is not to have the file itself, as he could change its size.
      let backing: RegionBacking
      do throws(Errno) {
        backing = try backings.backing(of: end.region, pages)
      } catch {
        return request.fail(error)
      }
      finish(request, PagesFile(pages)) { request, handle in
        request.reply(handle: handle, mappingsOf: backing.file)
      }
    case .served:
      request.fail(.notSupported)
    }
  }

  /// A file whose pages the kernel has, which keeps `pages` open.
  private func open(
    _ request: consuming Request<Answer.Opened>, _ file: OpenFile, _ pages: RegionFile,
    _ mapping: any PageCacheMapping
  ) {
    if let keeper = mapping.keeper { pages.share(with: keeper) }
    finish(request, file) { request, handle in
      request.reply(handle: handle, pagesOf: pages.descriptor.raw)
    }
  }

  private func close(_ handle: UInt64) {
    handles.withLock { $0.remove(handle) }?.close()
  }

  private func file(_ handle: UInt64) -> OpenFile? {
    handles.withLock { $0[handle] }
  }

  package func read(
    _ request: consuming Request<Answer.Bytes>, handle: UInt64, offset: UInt64, size: Int,
    flags: OpenFlags, isForPages: Bool
  ) {
    guard let file = file(handle) else { return request.fail(.badFileDescriptor) }
    guard !isForPages || file.mayBeReadForPages else { return request.fail(.invalidArgument) }
    file.read(request, offset: offset, size: size, flags: flags)
  }

  package func write(
    _ request: consuming Request<Answer.Count>, handle: UInt64, offset: UInt64,
    bytes: UnsafeRawBufferPointer, flags: OpenFlags
  ) {
    guard let file = file(handle) else { return request.fail(.badFileDescriptor) }
    unsafe file.write(request, offset: offset, bytes: bytes, flags: flags)
  }

  package func release(_ request: consuming Request<Answer.Nothing>, handle: UInt64) {
    close(handle)
    request.reply()
  }

  package func close(handle: UInt64) { close(handle) }

  package func synchronize(_ request: consuming Request<Answer.Nothing>, handle: UInt64) {
    guard let file = file(handle) else { return request.fail(.badFileDescriptor) }
    do throws(Errno) {
      try file.synchronize()
    } catch {
      return request.fail(error)
    }
    request.reply()
  }

  package func control(
    _ request: consuming Request<Answer.Control>, handle: UInt64, command: ControlCommand,
    input: UnsafeRawBufferPointer
  ) {
    guard let file = file(handle) else { return request.fail(.badFileDescriptor) }
    unsafe file.control(request, command, input: input)
  }

  package func poll(
    _ request: consuming Request<Answer.Readiness>, handle: UInt64, events: PollEvents,
    pollHandle: consuming PollHandle?
  ) {
    guard let file = file(handle) else { return request.fail(.badFileDescriptor) }
    file.poll(request, events: events, pollHandle: pollHandle)
  }

  package func openDirectory(_ request: consuming Request<Answer.Opened>, node number: UInt64) {
    guard let node = Node(number), node.isDirectory, attributes(of: node) != nil else {
      return request.fail(.noSuchFileOrDirectory)
    }
    let directory: OpenDirectory
    do throws(Errno) {
      directory = try OpenDirectory(node, self, for: request.caller)
    } catch {
      return request.fail(error)
    }
    finish(request, directory, [])
  }

  package func readDirectory(
    _ request: consuming Request<Answer.Bytes>, handle: UInt64, offset: UInt64, size: Int
  ) {
    guard let file = file(handle) else { return request.fail(.badFileDescriptor) }
    file.readDirectory(request, offset: offset, size: size)
  }

  package func releaseDirectory(_ request: consuming Request<Answer.Nothing>, handle: UInt64) {
    release(request, handle: handle)
  }
}
