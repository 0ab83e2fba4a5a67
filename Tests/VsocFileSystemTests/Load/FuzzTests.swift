// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing
import VsocEngine
import VsocFileSystem
import VsocProtocol

/// Requests that make no sense, tens of thousands of them, beside a client that goes on as if there
/// were none.
@Suite struct FuzzTests {
  private static let requests = 20_000

  @Test(arguments: [0x5eed, 0xdead_beef] as [UInt64])
  func `Random requests get their replies and disturb nobody`(seed: UInt64) throws {
    let regions = try [
      region("calm"), region("f", size: 1 << 16, slotsLg2: 1), region("g", size: 1 << 16),
      region("managed", size: 1 << 16, managedBy: "g"),
    ]
    try withTree(regions, options: ["size=16M", "region_size=64K"]) { tree in
      let memory = try Self.residentBytes
      let calm = CalmClient(tree)
      let handles = try calm.open()
      let isOver = Monitor(false)
      try concurrently([
        { [tree] in
          defer { isOver.withLock { $0 = true } }
          var fuzzer = Fuzzer(tree.wire, seed: seed, kept: Set(handles))
          try fuzzer.run(Self.requests)
        },
        { try calm.run { isOver.withLock { $0 } } },
      ])
      try calm.close()
      let values = try tree.values(of: ".vsocfs/stats")
      #expect(values["waiting_calls"] == "0", "seed \(seed)")
      // The one that tells it is not open yet.
      #expect(values["open_files"] == "0", "seed \(seed)")
      // No use of a region is left that ended, nor is one lost that did not.
      for name in try tree.wire.names() where name != ".vsocfs" && name != "g" {
        try tree.wire.removeDirectory(name)
      }
      if try tree.wire.names().contains("g") { try tree.wire.removeDirectory("g") }
      #expect(tree.server.engine.usedBytes == 0)
      // Other tests run beside this one; a request that costs what it names would cost gigabytes.
      #expect(try Self.residentBytes < memory + 1 << 30)
    }
  }

  private static var residentBytes: Int {
    get throws {
      guard let file = unsafe fopen("/proc/self/statm", "r") else { throw TestFailure("no /proc") }
      defer { unsafe fclose(file) }
      var buffer = [CChar](repeating: 0, count: 128)
      _ = unsafe fgets(&buffer, 128, file)
      let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8($0) }, as: UTF8.self)
      guard let pages = Int(text.split(separator: " ")[1]) else { throw TestFailure(text) }
      return pages * 4096
    }
  }
}

/// A client that knows what each of its requests must bring.
private final class CalmClient: Sendable {
  private let tree: ServedTree
  private let files = Monitor<[String: FuseHandle]>([:])
  private static let paths = ["data", "doorbell", "signal"].flatMap {
    ["calm/\($0)", "calm/peer/\($0)"]
  }

  init(_ tree: ServedTree) { self.tree = tree }

  /// Its handles' numbers, which are nobody else's.
  func open() throws -> [UInt64] {
    for path in Self.paths {
      let handle = try tree.wire.open(path: path)
      files.withLock { $0[path] = handle }
    }
    return files.withLock { $0.values.map(\.opened.handle) }
  }

  func close() throws {
    for handle in files.withLock({ Array($0.values) }) { try tree.wire.release(handle) }
  }

  func run(until isOver: () -> Bool) throws {
    let wire = tree.wire
    let files = files.withLock { $0 }
    guard let bell = files["calm/doorbell"], let peerBell = files["calm/peer/doorbell"],
      let signal = files["calm/signal"], let peerSignal = files["calm/peer/signal"],
      let data = files["calm/data"], let peerData = files["calm/peer/data"]
    else { throw TestFailure("not open") }
    var round: UInt32 = 0
    while !isOver() || round < 10 {
      round += 1
      let offset = 0x2000 + 4 * (round % 1000)
      let read = try wire.beginRead(peerBell)
      try wire.write(bell, "\(offset)")
      try expect(wire.text(of: read), "0x0000\(String(offset, radix: 16))\n")
      try wire.write(peerSignal, "inject")
      try expect(wire.readText(signal), "\(round)\n")

      let sleeper = try tree.beginCondWait(
        peerData, CondWaitArgument(offset: 0x8000, value: round - 1))
      try wire.write(data, unsafe withUnsafeBytes(of: round) { unsafe Array($0) }, offset: 0x8000)
      try wire.ioctl(data, Ioctl.condWake, argument: 0x8000)
      try expect(wire.ioctlReply(to: sleeper).result, 0)
      try expect(wire.attributes(of: data.node).size, 1 << 20)
      try expect(wire.lookup("calm").node, wire.lookup("calm").attributes.inode)
      try expect(wire.poll(bell, pollHandle: 0, schedule: false) & POLLIN, 0)
    }
  }

  private func expect<Value: Equatable>(_ value: Value, _ expected: Value) throws {
    guard value == expected else { throw TestFailure("\(value) instead of \(expected)") }
  }
}

/// Makes requests up, sends them, and takes their replies.
private struct Fuzzer {
  private let wire: FuseWire
  private var random: SplitMix
  private let kept: Set<UInt64>
  private var nodes: [UInt64] = [0, 1, 2, 3, 4, 5, .max]
  /// Open, or open once.
  private var handles: [UInt64] = [0, .max]
  private var open: Set<UInt64> = []
  private var tickets: [(FuseWire.Ticket, opens: Bool)] = []

  /// - Parameter kept: handles that are somebody else's.
  init(_ wire: FuseWire, seed: UInt64, kept: Set<UInt64>) {
    self.wire = wire
    self.kept = kept
    random = SplitMix(state: seed)
    // The regions after the first, and some that do not exist or not yet.
    for region: UInt64 in 2...8 {
      for code: UInt64 in 0...5 { nodes += [region << 8 + code, region << 8 + 0x80 + code] }
    }
  }

  mutating func run(_ count: Int) throws {
    for _ in 0..<count {
      try send()
      if tickets.count >= 64 { try settle() }
    }
    try settle()
    // Every handle that an open gave is given back, as the kernel does, whatever became of it.
    for handle in open.subtracting(kept) {
      try wire.release(FuseHandle.invented(handle))
    }
  }

  /// Interrupts what still waits, and takes all replies.
  private mutating func settle() throws {
    for (ticket, _) in tickets { try wire.interrupt(ticket) }
    for (ticket, opens) in tickets {
      do {
        let body = try wire.reply(to: ticket, within: ServedTree.patience)
        if opens, body.count == 16 {
          let handle = unsafe body.withUnsafeBytes { unsafe $0.load(as: UInt64.self) }
          open.insert(handle)
          handles.append(handle)
        }
      } catch is Errno {
        // As good an answer as any.
      }
    }
    tickets.removeAll()
    if handles.count > 200 { try forgetHandles() }
    _ = wire.takeNotifications()
  }

  private mutating func forgetHandles() throws {
    for handle in open {
      try wire.release(FuseHandle.invented(handle))
    }
    open.removeAll()
    handles.removeFirst(handles.count - 20)
  }

  // MARK: Making requests up

  private mutating func send() throws {
    let node = pick(nodes)
    let caller = FuseWire.Caller(uid: pick([0, 1000, .max]), gid: pick([0, .max]), pid: word())
    switch Int.random(in: 0..<20, using: &random) {
    case 0: try sendUnanswered(node)
    case 1:
      let opcodes: [UInt32] = [
        0, 5, 7, 20, 21, 22, 23, 24, 30, 31, 32, 33, 37, 43, 44, 45, 46, 47, 48,
      ]
      let opcode = pick(opcodes)
      let body = (0..<Int.random(in: 0...200, using: &random)).map { _ in byte() }
      tickets.append((try wire.send(opcode: opcode, node: node, caller: caller, body: body), false))
    default:
      let operation = pick(Self.operations)
      var body = body(of: operation)
      if Int.random(in: 0..<4, using: &random) == 0 { mutate(&body, of: operation) }
      let opens = operation == .open || operation == .openDirectory
      tickets.append((try wire.send(operation, node: node, caller: caller, body: body), opens))
    }
  }

  private mutating func sendUnanswered(_ node: UInt64) throws {
    if Bool.random(using: &random) {
      try wire.forget(node, lookups: long())
    } else {
      let count = Int.random(in: 0...20, using: &random)
      try wire.batchForget((0..<count).map { _ in (pick(nodes), long()) })
    }
  }

  private static let operations: [FuseABI.Operation] = [
    .lookup, .getAttributes, .setAttributes, .symlink, .makeNode, .makeDirectory, .unlink,
    .removeDirectory, .rename, .link, .open, .open, .open, .read, .read, .read, .write, .write,
    .write, .statistics, .release, .flush, .openDirectory, .readDirectory, .releaseDirectory,
    .access, .create, .ioctl, .ioctl, .ioctl, .poll, .poll,
  ]

  private mutating func body(of operation: FuseABI.Operation) -> [UInt8] {
    var body = WireWriter()
    switch operation {
    case .lookup, .unlink, .removeDirectory:
      body.append(name())
    case .symlink, .rename, .link:
      if operation != .symlink { body.append64(pick(nodes)) }
      body.append(name())
      body.append(name())
    case .makeDirectory, .makeNode, .create:
      body.append(word(), word())
      if operation != .makeDirectory { body.append(word(), word()) }
      body.append(name())
    case .setAttributes:
      body.append(word(), 0)
      body.append64(handle(), size(), long(), long(), long(), long())
      for _ in 0..<8 { body.append(word()) }
    case .read, .readDirectory:
      body.append64(handle(), size())
      body.append(UInt32(truncatingIfNeeded: size()), word())
      body.append64(long())
      body.append(word(), 0)
    case .write:
      let data = text()
      body.append64(handle(), size())
      body.append(UInt32(data.count), word())
      body.append64(long())
      body.append(word(), 0)
      body.append(data)
    case .ioctl:
      body.append64(handle())
      body.append(word(), Bool.random(using: &random) ? pick(Ioctl.all) : word())
      body.append64(size())
      body.append(pick([0, 16, 32]), pick([0, 16, 32, 256, word()]))
      body.append(
        CondWaitArgument(
          offset: UInt32(truncatingIfNeeded: size()), value: pick([0, word()]),
          seconds: pick([0, long()]), nanoseconds: pick([0, word()]), type: pick([0, 1, 2, 3]),
          wakes: word()
        ).bytes)
    case .poll:
      body.append64(handle(), long())
      body.append(word(), word())
    default:
      body.append64(handle())
      body.append(word(), word())
      body.append64(long())
    }
    return body.bytes
  }

  /// Flips bits, but for those by which libfuse trusts the kernel not to reach beyond the message.
  private mutating func mutate(_ body: inout [UInt8], of operation: FuseABI.Operation) {
    for _ in 0..<Int.random(in: 1...8, using: &random) where body.count > 1 {
      // A name keeps its end.
      let index = Int.random(in: 0..<(body.count - 1), using: &random)
      if operation == .write, (16..<20).contains(index) { continue }
      if operation == .release || operation == .releaseDirectory, index < 8 { continue }
      body[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    }
  }

  private mutating func pick<Value>(_ values: [Value]) -> Value {
    values[Int.random(in: 0..<values.count, using: &random)]
  }

  private mutating func byte() -> UInt8 { UInt8.random(in: .min ... .max, using: &random) }
  private mutating func long() -> UInt64 { random.next() >> pick([0, 0, 20, 40, 60]) }
  private mutating func word() -> UInt32 { UInt32(truncatingIfNeeded: long()) }

  /// A handle that is not somebody else's.
  private mutating func handle() -> UInt64 {
    let handle = Int.random(in: 0..<10, using: &random) == 0 ? long() : pick(handles)
    return kept.contains(handle) ? .max : handle
  }

  /// A size or an offset, more often than not near a limit.
  private mutating func size() -> UInt64 {
    let base = pick([0, 0x1000, 0x2000, 1 << 16, 1 << 20, 1 << 32, 1 << 63, long()])
    return base &+ pick([0, 0, 4, 1, 4096]) &- pick([0, 0, 4, 1])
  }

  private mutating func name() -> String {
    pick([
      "f", "g", "h", "managed", "data", "peer", "doorbell", "", ".", "..", ".vsocfs", "a/b",
      "ä", String(repeating: "x", count: 255), "fifteen_letters", "sixteen_letters_",
    ])
  }

  private mutating func text() -> [UInt8] {
    switch Int.random(in: 0..<4, using: &random) {
    case 0: Array(pick(["inject", "enable", "disable", "1", "\n", "0", "", "x"]).utf8)
    case 1: (0..<Int.random(in: 0..<100, using: &random)).map { _ in byte() }
    default:
      Array(
        (0..<Int.random(in: 1...4, using: &random)).map { _ in "\(size())" }
          .joined(separator: " ").utf8)
    }
  }
}
