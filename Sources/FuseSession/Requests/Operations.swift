// SPDX-License-Identifier: Apache-2.0

internal import CFuse3
internal import CFuseIO
internal import Glibc
internal import SystemPackage

/// Bytes that one request for pages may carry, and that any may.
private let pagePayload: UInt32 = 128 << 10
private let maximumPayload: UInt32 = 1 << 20

/// The file system's number of an open file: a handle for pages has more in it.
private func fileHandle(of file: UnsafeMutablePointer<fuse_file_info>) -> UInt64 {
  vsocfs_fuse_handle(unsafe file.pointee.fh)
}

/// libfuse's operation table: each entry makes a typed request and hands it on. The closures are
/// called by the session's workers, and hold nothing.
extension Session {
  static func operations() -> fuse_lowlevel_ops {
    var operations = fuse_lowlevel_ops()
    addConnection(to: &operations)
    addNames(to: &operations)
    addAttributes(to: &operations)
    addFiles(to: &operations)
    addDirectories(to: &operations)
    return operations
  }

  private static func addConnection(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.`init` = { userdata, connection in
      guard let connection = unsafe connection else { return }
      // Requests are read into memory and answered from it: splicing them costs more than it saves
      // for what little goes through the daemon.
      let splice = FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE
      unsafe connection.pointee.want &= ~UInt32(splice)
      // With it, an open with O_TRUNC makes the kernel take the file for empty: a write is then one
      // beyond its end, for which the kernel locks everybody else's writes out until it returns.
      unsafe connection.pointee.want &= ~UInt32(FUSE_CAP_ATOMIC_O_TRUNC)
      // Pages are memory here: a time that differs from the kernel's own does not make them stale.
      unsafe connection.pointee.want &= ~UInt32(FUSE_CAP_AUTO_INVAL_DATA)
      // What io_submit(2) and io_uring(7) ask for would be one of the few requests under way that the
      // kernel does not wait for, releases of files among them, and could not be given up when its
      // caller is killed: a few reads that wait would hold up everybody else's releases.
      unsafe connection.pointee.want &= ~UInt32(FUSE_CAP_ASYNC_DIO)
      guard let channel = unsafe userdata?.assumingMemoryBound(to: vsocfs_fuse_channel.self) else {
        return
      }
      // Without passthrough each worker has room for whole requests in locked memory.
      let limit =
        unsafe vsocfs_fuse_passthrough_offered(channel) ? maximumPayload : pagePayload
      unsafe connection.pointee.max_write = min(connection.pointee.max_write, limit)
      unsafe channel.pointee.max_payload = connection.pointee.max_write
    }
    unsafe operations.statfs = { raw, _ in
      unsafe Session.of(raw!).fileSystem.getStatistics(Request(raw!))
    }
  }

  private static func addNames(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.lookup = { raw, parent, name in
      let request = unsafe Request<Answer.Entry>(raw!)
      guard let name = unsafe String(validatingCString: name!) else {
        return request.fail(.noSuchFileOrDirectory)
      }
      unsafe Session.of(raw!).fileSystem.lookup(request, parent: parent, name: name)
    }
    unsafe operations.forget = { raw, node, count in
      unsafe Session.of(raw!).fileSystem.forget(node: node, count: count)
      unsafe fuse_reply_none(raw)
    }
    unsafe operations.forget_multi = { raw, count, forgets in
      for index in 0..<count {
        let forget = unsafe forgets![index]
        unsafe Session.of(raw!).fileSystem.forget(node: forget.ino, count: forget.nlookup)
      }
      unsafe fuse_reply_none(raw)
    }
    unsafe operations.mkdir = { raw, parent, name, mode in
      let request = unsafe Request<Answer.Entry>(raw!)
      guard let name = unsafe String(validatingCString: name!) else {
        return request.fail(.invalidArgument)
      }
      unsafe Session.of(raw!).fileSystem.makeDirectory(
        request, parent: parent, name: name, mode: mode)
    }
    unsafe operations.mknod = { raw, parent, name, mode, _ in
      let request = unsafe Request<Answer.Entry>(raw!)
      guard let name = unsafe String(validatingCString: name!) else {
        return request.fail(.invalidArgument)
      }
      unsafe Session.of(raw!).fileSystem.makeNode(
        request, parent: parent, name: name, mode: mode)
    }
    unsafe operations.rmdir = { raw, parent, name in
      let request = unsafe Request<Answer.Nothing>(raw!)
      guard let name = unsafe String(validatingCString: name!) else {
        return request.fail(.noSuchFileOrDirectory)
      }
      unsafe Session.of(raw!).fileSystem.removeDirectory(request, parent: parent, name: name)
    }
    // The files of a region come and go with it. Said here, because without these entries the
    // kernel would say ENOSYS.
    unsafe operations.create = { raw, _, _, _, _ in unsafe Session.refuse(raw!) }
    unsafe operations.unlink = { raw, _, _ in unsafe Session.refuse(raw!) }
    unsafe operations.symlink = { raw, _, _, _ in unsafe Session.refuse(raw!) }
    unsafe operations.link = { raw, _, _, _ in unsafe Session.refuse(raw!) }
    unsafe operations.rename = { raw, _, _, _, _, _ in unsafe Session.refuse(raw!) }
  }

  private static func refuse(_ raw: fuse_req_t) {
    unsafe Request<Answer.Nothing>(raw).fail(.notPermitted)
  }

  private static func addAttributes(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.getattr = { raw, node, _ in
      unsafe Session.of(raw!).fileSystem.getAttributes(Request(raw!), node: node)
    }
    unsafe operations.setattr = { raw, node, wanted, what, _ in
      var changes = AttributeChanges()
      let wanted = unsafe wanted!.pointee
      if what & FUSE_SET_ATTR_MODE != 0 { changes.mode = wanted.st_mode }
      if what & FUSE_SET_ATTR_UID != 0 { changes.uid = wanted.st_uid }
      if what & FUSE_SET_ATTR_GID != 0 { changes.gid = wanted.st_gid }
      if what & FUSE_SET_ATTR_SIZE != 0 { changes.size = UInt64(bitPattern: Int64(wanted.st_size)) }
      unsafe Session.of(raw!).fileSystem.setAttributes(Request(raw!), node: node, changes)
    }
  }

  private static func addFiles(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.open = { raw, node, file in
      unsafe Session.of(raw!).fileSystem.open(
        Request(raw!), node: node, flags: OpenFlags(rawValue: file!.pointee.flags))
    }
    // Offsets are taken as the unsigned numbers that they are on the wire: whatever comes there, a
    // conversion must not end the daemon.
    unsafe operations.read = { raw, _, size, offset, file in
      unsafe Session.of(raw!).fileSystem.read(
        Request(raw!), handle: fileHandle(of: file!), offset: UInt64(bitPattern: Int64(offset)),
        size: size, flags: OpenFlags(rawValue: file!.pointee.flags),
        // Each caller of read(2) has an owner for its locks; the page cache has none.
        isForPages: file!.pointee.lock_owner == 0)
    }
    unsafe operations.write = { raw, _, bytes, size, offset, file in
      unsafe Session.of(raw!).fileSystem.write(
        Request(raw!), handle: fileHandle(of: file!), offset: UInt64(bitPattern: Int64(offset)),
        bytes: UnsafeRawBufferPointer(start: bytes, count: size),
        flags: OpenFlags(rawValue: file!.pointee.flags))
    }
    unsafe operations.release = { raw, _, file in
      unsafe Session.of(raw!).fileSystem.release(Request(raw!), handle: fileHandle(of: file!))
    }
    unsafe operations.fsync = { raw, _, _, file in
      unsafe Session.of(raw!).fileSystem.synchronize(Request(raw!), handle: fileHandle(of: file!))
    }
    unsafe operations.ioctl = { raw, _, number, argument, file, _, input, inputSize, outputSize in
      let command = ControlCommand(
        number: number, argument: UInt64(UInt(bitPattern: argument)), outputSize: outputSize)
      unsafe Session.of(raw!).fileSystem.control(
        Request(raw!), handle: fileHandle(of: file!), command: command,
        input: UnsafeRawBufferPointer(start: input, count: inputSize))
    }
    unsafe operations.poll = { raw, _, file, handle in
      let session = unsafe Session.of(raw!)
      let events = unsafe PollEvents(rawValue: file!.pointee.poll_events)
      session.fileSystem.poll(
        unsafe Request(raw!), handle: unsafe fileHandle(of: file!), events: events,
        pollHandle: unsafe handle.map { unsafe PollHandle($0, session) })
    }
  }

  private static func addDirectories(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.opendir = { raw, node, _ in
      unsafe Session.of(raw!).fileSystem.openDirectory(Request(raw!), node: node)
    }
    unsafe operations.readdir = { raw, _, size, offset, file in
      unsafe Session.of(raw!).fileSystem.readDirectory(
        Request(raw!), handle: fileHandle(of: file!), offset: UInt64(bitPattern: Int64(offset)),
        size: size)
    }
    unsafe operations.releasedir = { raw, _, file in
      unsafe Session.of(raw!).fileSystem.releaseDirectory(
        Request(raw!), handle: fileHandle(of: file!))
    }
  }
}
