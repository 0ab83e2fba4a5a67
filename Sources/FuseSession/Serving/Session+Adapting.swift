// SPDX-License-Identifier: Apache-2.0

internal import CFuse3
internal import CFuseIO
internal import Glibc
internal import LinuxSystem
internal import SystemPackage

/// How a connection is served.
package enum Service: Sendable {
  /// No request makes its worker wait: so many workers as the load asks for.
  case adaptive(WorkerPoolSize)
  /// A request may make its worker wait for others: a worker for each room, which listen by turns.
  case listening(SharedRooms)
}

/// Workers that come and go with the load: each carries a request to the file system, which never
/// makes it wait, and comes back.
extension Session {
  func startAdapting(_ size: WorkerPoolSize) throws(Errno) {
    pool.start(size)
    for number in 0..<size.minimum {
      pool.begin()
      do throws(Errno) {
        try startWorker(isPermanent: true)
      } catch {
        _ = pool.end()
        if number == 0 { throw error }
      }
    }
  }

  private func startWorker(isPermanent: Bool) throws(Errno) {
    try Thread.start(name: "vsoc-fuse") { [self] in work(isPermanent: isPermanent) }
  }

  private func work(isPermanent: Bool) {
    var buffer = unsafe fuse_buf()
    var load = WorkerLoad(isPermanent: isPermanent)
    while true {
      let start = MonotonicInstant.now
      let length = unsafe fuse_session_receive_buf(raw, &buffer)
      if length == -EINTR { continue }
      if length <= 0 { break }
      let isTurn = pool.isTurn(of: unsafe Self.caller(of: buffer))
      load.received(isTurn: isTurn, waitingFrom: start)
      if pool.begin(for: load.need) {
        do throws(Errno) {
          try startWorker(isPermanent: false)
        } catch {
          // Those that there are do it alone.
          _ = pool.end()
        }
      }
      unsafe fuse_session_process_buf(raw, &buffer)
      if load.isIdle, !isPermanent { break }
    }
    unsafe free(buffer.mem)
    if pool.end() { ended() }
  }

  /// The thread that made the request in the buffer (`fuse_in_header.pid`).
  private static func caller(of buffer: fuse_buf) -> UInt32 {
    let (offset, headerSize) = (32, 40)
    guard unsafe buffer.size >= headerSize, let header = unsafe buffer.mem else { return 0 }
    return unsafe header.load(fromByteOffset: offset, as: UInt32.self)
  }
}
