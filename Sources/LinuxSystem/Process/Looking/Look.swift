// SPDX-License-Identifier: Apache-2.0

internal import CLinux
package import SystemPackage

/// A question about a thread of another process: what runs there, and for which node of a FUSE file system
/// one of its descriptors is open. It may be looked at by the same user with no more capabilities, or
/// with CAP_SYS_PTRACE (ptrace(2)).
package struct Look: Hashable, Sendable {
  /// How the thread names a descriptor.
  package enum Place: Hashable, Sendable {
    case number(Int32)
    /// In a word of its memory, which has the number.
    case word(UInt64)
  }

  package var thread: Int32
  /// The descriptor, and the minor device number of the file system.
  package var file: (place: Place, device: Int32)? {
    get { place.map { ($0, device) } }
    set { (place, device) = (newValue?.place, newValue?.device ?? 0) }
  }
  private var place: Place?
  private var device: Int32 = 0

  package init(at thread: Int32, file: (place: Place, device: Int32)? = nil) {
    self.thread = thread
    self.file = file
  }

  var question: vsocfs_look {
    var question = vsocfs_look()
    question.thread = thread
    question.device = device
    switch place {
    case .number(let number):
      question.what = UInt32(VSOCFS_LOOK_NODE)
      question.descriptor = number
    case .word(let address):
      question.what = UInt32(VSOCFS_LOOK_NODE | VSOCFS_LOOK_WORD)
      question.address = address
    case nil: break
    }
    return question
  }
}

/// What a look has found.
package struct Seen: Hashable, Sendable {
  package enum Node: Hashable, Sendable {
    case found(UInt64)
    /// EFAULT: the word is not in the thread's memory. ESRCH: the thread is gone.
    case noWord(Errno)
    /// The thread may not be looked at.
    case refused
    /// There is no such descriptor, or it is open for something else.
    case notFound
  }

  /// Nil if it was not asked for.
  package var node: Node?
  /// The thread's process, and the name of what runs there; the thread itself, and `?`, if it is gone.
  package var process: Int32
  package var name: String

  init(_ seen: vsocfs_seen, of look: Look) {
    if look.file != nil {
      node =
        switch (seen.word_error, seen.node_error) {
        case (-Errno.notPermitted.rawValue, _), (_, -Errno.permissionDenied.rawValue): .refused
        case (0, 0): .found(seen.node)
        case (0, _): .notFound
        case (let error, _): .noWord(Errno(rawValue: -error))
        }
    }
    process = seen.process
    name = unsafe withUnsafeBytes(of: seen.name) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}

/// Who looks.
package protocol Looking: Sendable {
  /// Looks, and calls back, from any thread: with what was seen, or with EAGAIN if there is nobody to look for
  /// that user now, or EFAULT if the look took too long.
  func look(
    _ look: Look, for user: UInt32,
    then completion: @escaping @Sendable (Result<Seen, Errno>) -> Void)
}

/// Looks there and then: where nobody has to be feared.
package struct ImmediateLooks: Looking {
  package init() {}

  package func look(
    _ look: Look, for user: UInt32,
    then completion: @escaping @Sendable (Result<Seen, Errno>) -> Void
  ) {
    var question = look.question
    var seen = vsocfs_seen()
    unsafe vsocfs_look(&question, &seen)
    completion(.success(Seen(seen, of: look)))
  }
}
