// SPDX-License-Identifier: Apache-2.0

import Testing

/// Every call that can block, as the guest end makes it.
enum BlockedCall: String, CaseIterable, CustomTestStringConvertible {
  case readDoorbell, readSignal, writeDoorbell, waitForIncoming, conditionWait
  case conditionWaitWithTimeout, pollDoorbell, pollSignal, selectDoorbell, selectSignal
  case epollDoorbell, epollSignal

  var testDescription: String { rawValue }

  /// A region with tables of one slot, which are full soon.
  static let layout = #"{ regions: [{ name: "demo", size: "64K", nodes_lg2: 0 }] }"#

  /// Those that the daemon parks: one request of FUSE each, which it answers in the end.
  static let parked: [BlockedCall] = [
    .readDoorbell, .readSignal, .writeDoorbell, .waitForIncoming, .conditionWait,
    .conditionWaitWithTimeout,
  ]

  static let ioctls: [BlockedCall] = [.waitForIncoming, .conditionWait, .conditionWaitWithTimeout]

  /// Where a thread sleeps in it.
  var place: Proc.Place {
    switch self {
    case .pollDoorbell, .pollSignal: .poll
    case .selectDoorbell, .selectSignal: .select
    case .epollDoorbell, .epollSignal: .epoll
    default: .request
    }
  }

  private var file: String {
    switch self {
    case .readDoorbell, .writeDoorbell, .pollDoorbell, .selectDoorbell, .epollDoorbell: "doorbell"
    case .readSignal, .pollSignal, .selectSignal, .epollSignal: "signal"
    default: "data"
    }
  }

  /// Opens the file for the call; what the call needs in order to block is done.
  func prepare(_ client: Client, _ mount: MountedDaemon) throws -> Prepared {
    let fd = try client.open(mount("demo/" + file))
    switch self {
    case .writeDoorbell:
      #expect(try client("write", fd, "0x2000\n") == "7")
    case .epollDoorbell, .epollSignal:
      let epoll = String(try client.number("epoll"))
      #expect(try client("epoll-add", epoll, fd, "in") == "0")
      return Prepared(call: self, fd: fd, epoll: epoll)
    default:
      break
    }
    return Prepared(call: self, fd: fd, epoll: "")
  }

  /// A call with its descriptors.
  struct Prepared {
    let call: BlockedCall
    let fd: String
    let epoll: String

    private func run(_ make: (String...) throws -> Void) throws {
      switch call {
      case .readDoorbell, .readSignal: try make("read", fd, "100")
      case .writeDoorbell: try make("write", fd, "0x2004\n")
      case .waitForIncoming: try make("wait-incoming", fd)
      case .conditionWait: try make("cond-wait", fd, "0x3000", "0")
      case .conditionWaitWithTimeout:
        try make("cond-wait", fd, "0x3000", "0", "2", "0x7fffffff", "0")
      case .pollDoorbell, .pollSignal: try make("poll", fd, "in", "-1")
      case .selectDoorbell, .selectSignal: try make("select", fd, "in", "-1")
      case .epollDoorbell, .epollSignal: try make("epoll-wait", epoll, "-1")
      }
    }

    /// Makes the call in the client's main thread and waits until it blocks.
    func block(_ client: Client) throws {
      try run { (fields: String...) in try client.send(all: fields) }
      try client.waitUntilBlocked(in: call.place)
    }

    /// Makes the call in a thread of its own and waits until it blocks.
    func block(_ client: Client, tag: String) throws {
      try run { (fields: String...) in try client.start(all: [tag] + fields) }
      try client.waitUntilBlocked(in: call.place)
    }

    /// Makes the call once it cannot block any more.
    func finish(_ client: Client) throws -> String {
      try run { (fields: String...) in try client.send(all: fields) }
      return try client.reply()
    }
  }

  /// Does at the host end what the call waits for.
  func end(_ mount: MountedDaemon) throws {
    let host = try mount.client()
    switch self {
    case .readDoorbell, .pollDoorbell, .selectDoorbell, .epollDoorbell:
      #expect(try host("write", mount("demo/peer/doorbell"), "0\n") == "2")
    case .readSignal, .pollSignal, .selectSignal, .epollSignal:
      #expect(try host("write", mount("demo/peer/signal"), "inject\n") == "7")
    case .writeDoorbell:
      #expect(try host("read", mount("demo/peer/doorbell"), "100") == #"0x00002000\n"#)
    case .waitForIncoming:
      #expect(try host("maybe", mount("demo/peer/data")) == "0")
    case .conditionWait, .conditionWaitWithTimeout:
      let data = try host.open(mount("demo/peer/data"))
      let memory = try host("map", mount.mappable("demo/peer/data"), "0x4000")
      #expect(try host("store", memory, "0x3000", "1") == "0")
      #expect(try host("cond-wake", data, "0x3000") == "0")
    }
    try host.finish()
  }

  /// What the call returns when it has got what it waits for.
  func isSuccess(_ reply: String) -> Bool {
    switch self {
    case .readDoorbell: reply == #"0x00000000\n"#
    case .readSignal: reply == #"1\n"#
    case .writeDoorbell: reply == "7"
    case .waitForIncoming: reply == "0"
    case .conditionWait, .conditionWaitWithTimeout: reply.hasPrefix("0 wakes=")
    case .pollDoorbell, .pollSignal, .selectDoorbell, .selectSignal: reply == "in"
    case .epollDoorbell, .epollSignal: reply.hasSuffix(":in")
    }
  }
}
