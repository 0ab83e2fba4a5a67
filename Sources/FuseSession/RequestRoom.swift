// SPDX-License-Identifier: Apache-2.0

internal import CFuseIO
internal import LinuxSystem
internal import SystemPackage

/// Owns a thread's room for one request and one reply.
@safe
struct RequestRoom: ~Copyable {
  private let room: UnsafeMutablePointer<vsocfs_fuse_room>

  /// - Parameter payload: the most bytes that a request carries.
  init(payload: Int) throws(Errno) {
    let room = UnsafeMutablePointer<vsocfs_fuse_room>.allocate(capacity: 1)
    unsafe room.initialize(to: vsocfs_fuse_room())
    do throws(Errno) {
      try check { unsafe vsocfs_fuse_room_make(room, payload, -1, 0) }
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

  /// The length of a request; 0 at the connection's end; -EINTR.
  func receive(_ channel: UnsafeMutablePointer<vsocfs_fuse_channel>, _ descriptor: Int32) -> Int {
    unsafe vsocfs_fuse_receive(channel, descriptor, room)
  }

  /// Answers a request of `length` bytes if it is one for pages.
  func servePages(_ descriptor: Int32, _ length: Int) -> Bool {
    unsafe vsocfs_fuse_serve_pages(descriptor, room, length, nil)
  }
}
