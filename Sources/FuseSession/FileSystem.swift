// SPDX-License-Identifier: Apache-2.0

package import Logging

/// What a session asks of a file system. Called by several threads at once; a request may be
/// answered then or later, by any thread.
package protocol FileSystem: AnyObject, Sendable {
  func lookup(_ request: consuming Request<Answer.Entry>, parent: UInt64, name: String)
  func forget(node: UInt64, count: UInt64)
  func getAttributes(_ request: consuming Request<Answer.Attributes>, node: UInt64)
  func setAttributes(
    _ request: consuming Request<Answer.Attributes>, node: UInt64, _ changes: AttributeChanges)
  func makeDirectory(
    _ request: consuming Request<Answer.Entry>, parent: UInt64, name: String, mode: UInt32)
  /// mknod(2), and bind(2) of a socket: `mode` has the type.
  func makeNode(
    _ request: consuming Request<Answer.Entry>, parent: UInt64, name: String, mode: UInt32)
  func removeDirectory(_ request: consuming Request<Answer.Nothing>, parent: UInt64, name: String)

  func open(_ request: consuming Request<Answer.Opened>, node: UInt64, flags: OpenFlags)
  /// - Parameter isForPages: the kernel wants to fill its page cache, and no caller waits for these bytes
  ///   in read(2) or its kind.
  func read(
    _ request: consuming Request<Answer.Bytes>, handle: UInt64, offset: UInt64, size: Int,
    flags: OpenFlags, isForPages: Bool)
  /// `bytes` are valid during the call.
  func write(
    _ request: consuming Request<Answer.Count>, handle: UInt64, offset: UInt64,
    bytes: UnsafeRawBufferPointer, flags: OpenFlags)
  func release(_ request: consuming Request<Answer.Nothing>, handle: UInt64)
  /// The same of a release that has been answered.
  func close(handle: UInt64)
  /// `input` is valid during the call.
  func control(
    _ request: consuming Request<Answer.Control>, handle: UInt64, command: ControlCommand,
    input: UnsafeRawBufferPointer)
  /// To be answered at once. `pollHandle`, if given, is to be notified when that changes.
  func poll(
    _ request: consuming Request<Answer.Readiness>, handle: UInt64, events: PollEvents,
    pollHandle: consuming PollHandle?)

  func openDirectory(_ request: consuming Request<Answer.Opened>, node: UInt64)
  func readDirectory(
    _ request: consuming Request<Answer.Bytes>, handle: UInt64, offset: UInt64, size: Int)
  func releaseDirectory(_ request: consuming Request<Answer.Nothing>, handle: UInt64)
  func getStatistics(_ request: consuming Request<Answer.Statistics>)

  /// What has been written to an open file is to be safe on its disk, if it has one.
  func synchronize(_ request: consuming Request<Answer.Nothing>, handle: UInt64)

  /// Whether a thread of this process waits for what it asks of its own mount: then its request is
  /// answered without waiting for a thread to be free.
  func waitsItself(_ thread: Int32) -> Bool
  /// The caller of a request got a signal; see `Request.reportInterrupt`. Called with locks of
  /// libfuse held: nothing may be answered from here.
  func interrupted(_ token: UInt64)
  /// Something went wrong that has no caller to be told.
  var logger: Logger { get }
}

/// The flags of open(2), as far as they matter to a file system.
package struct OpenFlags: OptionSet, Sendable {
  package let rawValue: Int32

  package init(rawValue: Int32) { self.rawValue = rawValue }

  package static let nonBlocking = OpenFlags(rawValue: 0o4000)
  package static let append = OpenFlags(rawValue: 0o2000)
  private static let accessMask: Int32 = 0o3

  /// O_WRONLY or O_RDWR.
  package var isWritable: Bool { rawValue & Self.accessMask != 0 }

  /// O_WRONLY: neither reads nor mappings are possible.
  package var isWriteOnly: Bool { rawValue & Self.accessMask == 1 }
}

/// What a setattr wants to change. Times are not among them.
package struct AttributeChanges: Hashable, Sendable {
  package var mode: UInt32?
  package var uid: UInt32?
  package var gid: UInt32?
  package var size: UInt64?
}

/// An ioctl(2).
package struct ControlCommand: Sendable {
  package let number: UInt32
  /// The third argument as it is: an address, or a value where the command says so.
  package let argument: UInt64
  /// The bytes that the caller's argument has room for.
  package let outputSize: Int
}

/// The entries of a directory as the kernel reads them.
package struct DirectoryEntry: Sendable {
  package let name: String
  package let inode: UInt64
  /// Type bits of the mode.
  package let mode: UInt32
  /// Where to go on after this one.
  package let nextOffset: UInt64

  package init(name: String, inode: UInt64, mode: UInt32, nextOffset: UInt64) {
    self.name = name
    self.inode = inode
    self.mode = mode
    self.nextOffset = nextOffset
  }
}
