// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import SystemPackage
internal import VsocEngine

/// An open file of the tree. What a kind of file cannot do answers as a Unix file that cannot.
class OpenFile: @unchecked Sendable {
  /// Whether the kernel may keep what it reads in its page cache, where it gets by splice(2),
  /// sendfile(2), readahead(2), a private mapping and the like although reads do not go there. It keeps it
  /// for good, and a page that it waits for holds up whoever opens or writes the file: so what is
  /// read must be there at once, and never change.
  var mayBeReadForPages: Bool { false }

  func read(
    _ request: consuming Request<Answer.Bytes>, offset: UInt64, size: Int, flags: OpenFlags
  ) {
    request.fail(.invalidArgument)
  }

  func write(
    _ request: consuming Request<Answer.Count>, offset: UInt64, bytes: UnsafeRawBufferPointer,
    flags: OpenFlags
  ) {
    request.fail(.badFileDescriptor)
  }

  func control(
    _ request: consuming Request<Answer.Control>, _ command: ControlCommand,
    input: UnsafeRawBufferPointer
  ) {
    request.fail(.inappropriateIOCTLForDevice)
  }

  /// A file that does not say otherwise never blocks.
  func poll(
    _ request: consuming Request<Answer.Readiness>, events: PollEvents,
    pollHandle: consuming PollHandle?
  ) {
    request.reply([.readable, .writable])
  }

  func readDirectory(
    _ request: consuming Request<Answer.Bytes>, offset: UInt64, size: Int
  ) {
    request.fail(.notDirectory)
  }

  /// fsync(2). A file that does not say otherwise has nothing on a disk.
  func synchronize() throws(Errno) {}

  /// How many descriptors of this process it keeps open.
  var descriptorCost: Int { 0 }

  /// The last descriptor is gone: ends what still waits on this file.
  func close() {}
}

extension Abandonment {
  /// What the caller of an abandoned wait is told.
  var errno: Errno {
    switch self {
    case .interrupted: .interrupted
    case .timedOut: .timedOut
    case .gone: .operationNotSupportedByDevice
    case .refused: .noBufferSpace
    case .broken: .ioError
    }
  }
}
