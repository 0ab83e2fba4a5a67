// SPDX-License-Identifier: Apache-2.0

internal import CFuseIO
internal import LinuxSystem
package import SystemPackage

/// Owns a thread's room for one request and one reply.
@safe
struct RequestRoom: ~Copyable {
  private let room: UnsafeMutablePointer<vsocfs_fuse_room>

  /// - Parameters:
  ///   - payload: the most bytes that a request carries.
  ///   - memory: a file with rooms for others to look into, and which of them this is.
  init(payload: Int, in memory: (file: Int32, index: Int)? = nil) throws(Errno) {
    let room = UnsafeMutablePointer<vsocfs_fuse_room>.allocate(capacity: 1)
    unsafe room.initialize(to: vsocfs_fuse_room())
    do throws(Errno) {
      try check {
        unsafe vsocfs_fuse_room_make(room, payload, memory?.file ?? -1, memory?.index ?? 0)
      }
    } catch {
      unsafe room.deallocate()
      throw error
    }
    unsafe self.room = room
  }

  deinit {
    unsafe vsocfs_fuse_room_drop(room)
    unsafe room.deallocate()
  }

  var request: UnsafeMutableRawPointer { unsafe room.pointee.request }

  /// The fields of the request's header (`fuse_in_header`).
  var opcode: UInt32 { unsafe request.load(fromByteOffset: 4, as: UInt32.self) }
  var caller: UInt32 { unsafe request.load(fromByteOffset: 32, as: UInt32.self) }

  /// The file system's number of the open file that a request for pages, or a release, is about.
  var handle: UInt64 {
    vsocfs_fuse_handle(unsafe request.load(fromByteOffset: 40, as: UInt64.self))
  }

  /// Answers a request with nothing but success.
  func acknowledge(_ descriptor: Int32) {
    unsafe vsocfs_fuse_refuse(descriptor, room, 0)
  }

  /// The length of a request; 0 at the connection's end; -EINTR.
  func receive(_ channel: UnsafeMutablePointer<vsocfs_fuse_channel>, _ descriptor: Int32) -> Int {
    unsafe vsocfs_fuse_receive(channel, descriptor, room)
  }

  /// Answers a request of `length` bytes if it is one for pages.
  func servePages(_ descriptor: Int32, _ length: Int) -> Bool {
    unsafe vsocfs_fuse_serve_pages(descriptor, room, length, nil)
  }
}

/// The rooms of several threads, which a guard can look into, too: for what they have taken and not
/// answered, should they be killed.
package final class SharedRooms: Sendable {
  let memory: Descriptor
  let count: Int
  let payload: Int

  /// - Parameter session: a session that has agreed with the kernel on what requests carry.
  package init(_ count: Int, for session: Session) throws(Errno) {
    self.count = count
    payload = session.payload
    let size = count * vsocfs_fuse_room_size(payload)
    memory = try SharedMemoryFile(name: "vsocfs-rooms", size: size).takeDescriptor()
  }

  func room(_ index: Int) throws(Errno) -> RequestRoom {
    try RequestRoom(payload: payload, in: (memory.raw, index))
  }
}
