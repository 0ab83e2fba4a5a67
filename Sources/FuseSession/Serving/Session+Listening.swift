// SPDX-License-Identifier: Apache-2.0

internal import CFuse3
internal import CFuseIO
internal import Glibc
internal import LinuxSystem
internal import SystemPackage

/// Workers for a connection of which this process is a client too; see `ListeningPool`.
extension Session {
  /// The requests that may wait for a page: those on open files, and `release`. All others, about names and
  /// attributes, are answered without waiting for anything that a thread holds while it waits for a
  /// page, and have to be: their callers hold locks of the kernel meanwhile. A SETATTR of a size holds
  /// back the writeback of the file's pages; a MKDIR keeps the daemon from looking up what it wants
  /// to map.
  private static let mayWait: Set<UInt32> = [
    14, 15, 16,  // OPEN, READ, WRITE
    20,  // FSYNC
    39, 40,  // IOCTL, POLL
  ]

  private static let release: UInt32 = 18

  func startListening(_ rooms: SharedRooms) throws(Errno) {
    let listening = ListeningPool(try Semaphore())
    for number in 0..<rooms.count {
      pool.begin()
      do throws(Errno) {
        let room = try rooms.room(number)
        let box = RoomBox(room)
        try Thread.start(name: "vsoc-fuse") { [self] in
          listen(listening, box)
          if pool.end() { ended() }
        }
      } catch {
        _ = pool.end()
        // One that listens and one that does the work are enough.
        if number < 2 { throw error }
      }
    }
  }

  private func listen(_ listening: ListeningPool, _ box: RoomBox) {
    while true {
      switch listening.next() {
      case .end:
        return
      case .carryOut(.request(let request)):
        unsafe vsocfs_fuse_process(raw, request.bytes.baseAddress, request.bytes.count)
      case .carryOut(.close(let handle)):
        fileSystem.close(handle: handle)
      case .listen:
        guard receive(listening, box) else { return listening.end() }
      }
    }
  }

  /// Listens until it has carried out a request that was not for pages. False at the end of the
  /// connection.
  private func receive(_ listening: ListeningPool, _ box: RoomBox) -> Bool {
    while true {
      let length = unsafe box.room.receive(channel, descriptor)
      if length == -EINTR { continue }
      guard length > 0 else { return false }
      if box.room.servePages(descriptor, length) { continue }
      var mayLeave = listening.leave()
      if !mayLeave, box.room.opcode == Self.release {
        // The kernel has few such requests under way at a time that nobody waits for, and writeback is
        // among them: those that wait here must not be all of them.
        mayLeave = listening.leave(orQueue: .close(handle: box.room.handle))
        if !mayLeave {
          box.room.acknowledge(descriptor)
          continue
        }
      } else if !mayLeave, mayWait(box) {
        let request = unsafe QueuedRequest(copying: box.room.request, length: length)
        mayLeave = listening.leave(orQueue: .request(request))
        if !mayLeave { continue }
      }
      unsafe vsocfs_fuse_process(raw, box.room.request, length)
      if mayLeave { return true }
    }
  }

  private func mayWait(_ box: RoomBox) -> Bool {
    Self.mayWait.contains(box.room.opcode)
      && !fileSystem.waitsItself(Int32(bitPattern: box.room.caller))
  }
}

/// Carries a thread's room to the thread.
private final class RoomBox: @unchecked Sendable {
  let room: RequestRoom

  init(_ room: consuming RequestRoom) {
    self.room = room
  }
}
