// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
package import SystemPackage

/// UNIX stream sockets that do not wait (unix(7)).
package enum UnixSocket {
  /// One that listens at a path, which nothing may be at yet.
  ///
  /// - Parameter mode: permission bits of its file, from its first moment on.
  package static func listen(at path: String, mode: UInt32) throws(Errno) -> Descriptor {
    Descriptor(owning: try check { unsafe vsocfs_unix_bind(path, mode) })
  }

  /// Whether somebody listens there.
  package static func isListening(at path: String) -> Bool {
    let result = unsafe vsocfs_unix_connect(path)
    if result >= 0 { _ = close(result) }
    return result >= 0 || result == -EAGAIN
  }

  /// The next connection; nil if there is none.
  package static func accept(_ listener: borrowing Descriptor) throws(Errno) -> Descriptor? {
    let raw = listener.raw
    do throws(Errno) {
      return Descriptor(owning: try check(retryOnInterrupt: true) { vsocfs_accept(raw) })
    } catch .wouldBlock {
      return nil
    } catch .connectionAbort {
      return nil
    }
  }

  /// Who has connected, or made the pair (SO_PEERCRED).
  package static func user(of socket: borrowing Descriptor) throws(Errno) -> UInt32 {
    var user: UInt32 = 0
    let raw = socket.raw
    try check { unsafe vsocfs_peer_user(raw, &user) }
    return user
  }

  /// Has the kernel keep no more than a few small messages that were sent and not read: who does not read
  /// costs its memory as well, and its limit of descriptors that are under way.
  package static func limitOutgoing(of socket: borrowing Descriptor) throws(Errno) {
    var least: Int32 = 1
    try result {
      unsafe setsockopt(
        socket.raw, SOL_SOCKET, SO_SNDBUF, &least, socklen_t(MemoryLayout<Int32>.size))
    }
  }

  /// Sends a few bytes with copies of up to three descriptors: all or nothing.
  ///
  /// - Throws: EAGAIN: there is no room at the moment.
  package static func send(
    _ bytes: [UInt8], descriptors: [Int32] = [], to socket: borrowing Descriptor
  ) throws(Errno) {
    let raw = socket.raw
    try check(retryOnInterrupt: true) {
      unsafe vsocfs_send_message(
        raw, bytes, bytes.count, descriptors, Int32(descriptors.count))
    }
  }

  /// What has come, up to `count` bytes; empty at the end of the connection, nil if there is nothing yet.
  package static func receive(
    _ count: Int, from socket: borrowing Descriptor
  ) throws(Errno) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    do throws(Errno) {
      let received = try result { unsafe recv(socket.raw, &bytes, count, Int32(MSG_DONTWAIT)) }
      return Array(bytes.prefix(received))
    } catch .wouldBlock {
      return nil
    }
  }
}
