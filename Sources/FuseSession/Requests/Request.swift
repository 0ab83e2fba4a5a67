// SPDX-License-Identifier: Apache-2.0

internal import CFuse3
internal import Glibc
package import SystemPackage

/// One request of the kernel, to be answered exactly once.
///
/// `Answer` says what a success looks like; each answer has its `reply` in `Replies.swift`. Every
/// reply consumes the request, so that a second one does not compile. One that is dropped
/// unanswered is answered with EIO, as a client would wait for ever otherwise, and logged.
@safe
package struct Request<Answer>: ~Copyable, @unchecked Sendable {
  let raw: fuse_req_t

  init(_ raw: fuse_req_t) {
    unsafe self.raw = unsafe raw
  }

  deinit {
    unsafe Session.of(raw).droppedRequest()
    unsafe fuse_reply_err(raw, EIO)
  }

  /// Answers with an error.
  package consuming func fail(_ error: Errno) {
    let raw = unsafe finish()
    unsafe fuse_reply_err(raw, error.rawValue)
  }

  /// Gives the raw request up to the one reply that follows.
  consuming func finish() -> fuse_req_t {
    let raw = unsafe self.raw
    discard self
    return unsafe raw
  }

  /// Who asks. The process id is a thread's, in the daemon's pid namespace (0 if it has none there).
  package var caller: Caller {
    let context = unsafe fuse_req_ctx(raw)
    return unsafe Caller(
      uid: context?.pointee.uid ?? 0, gid: context?.pointee.gid ?? 0,
      pid: context?.pointee.pid ?? 0)
  }

  /// From now on an interrupt of the caller, also one that has come already, is told to the file
  /// system as `token`.
  ///
  /// To be called before the request is where another thread can answer it. libfuse may call back
  /// from inside, with its lock of the request held.
  package borrowing func reportInterrupt(as token: UInt64) {
    unsafe fuse_req_interrupt_func(
      raw,
      { request, token in
        guard let request = unsafe request else { return }
        unsafe Session.of(request).fileSystem.interrupted(UInt64(UInt(bitPattern: token)))
      }, UnsafeMutableRawPointer(bitPattern: UInt(token)))
  }
}

/// The process that made a request.
package struct Caller: Hashable, Sendable {
  package var uid: UInt32
  package var gid: UInt32
  package var pid: Int32
}
