// SPDX-License-Identifier: Apache-2.0

import Testing

/// The regions of these tests: areas of `buffers` are got from `manager`; `plain` has no part in it.
enum Managed {
  static let layout = """
    { regions: [
      { name: "manager", size: "64K" },
      { name: "buffers", size: "256K", managed_by: "manager" },
      { name: "plain", size: "64K" },
    ] }
    """
  static let size = 0x40000
  static let managerSize = 0x10000
  /// Where the data of all of them begins.
  static let data = 0x2000
}

func withManaged<Result>(
  _ arguments: [String] = [], through wrapper: [String] = [],
  sourceLocation: SourceLocation = #_sourceLocation, _ body: (MountedDaemon) throws -> Result
) throws -> Result {
  try withLayout(
    Managed.layout, arguments, through: wrapper, sourceLocation: sourceLocation, body)
}

/// A permission as it is asked for.
struct Claim: Sendable {
  var begin = 0x4000
  var end = 0x8000
  var owner = 0x2000
  var value = 7

  var fields: [String] {
    [begin, end, owner, value].map { "0x" + String($0, radix: 16) }
  }

  /// As `permissions` and the client show it.
  var shown: String {
    fields.map { field in
      "0x" + String(repeating: "0", count: 10 - field.count) + field.dropFirst(2)
    }.joined(separator: " ")
  }

  var length: Int { end - begin }
}

/// How to ask for one.
enum Way: String, CaseIterable, CustomTestStringConvertible {
  /// The original call on a descriptor of the manager, which names one of the managed region.
  case manager
  /// The call with the true size of its argument, likewise.
  case managerSized
  /// The original call on the descriptor that is to get it.
  case own
  /// The call with the true size on it.
  case ownSized
  /// A line written to `permissions`.
  case text
  /// A line written to another `permissions`, which names the descriptor.
  case named

  var testDescription: String { rawValue }

  /// The file that a descriptor must be of to get a permission so.
  var file: String { self == .text ? "permissions" : "data" }

  /// What the client calls it.
  fileprivate var call: String {
    switch self {
    case .manager, .own: "ioctl"
    case .managerSized, .ownSized: "sized"
    case .text, .named: rawValue
    }
  }

  /// The file through which a descriptor is named; nil if the one that is to get the permission is
  /// itself asked.
  var asked: String? {
    switch self {
    case .manager, .managerSized: "manager/data"
    case .named: "buffers/permissions"
    case .own, .ownSized, .text: nil
    }
  }
}

extension Client {
  /// Asks for a permission for `fd`: "0", or the name of the errno. `asked` is a descriptor of
  /// `way.asked`, where there is one.
  func claim(
    _ claim: Claim, _ way: Way = .ownSized, for fd: String, through asked: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> String {
    try send(all: try fields("claim", claim, way, for: fd, through: asked, sourceLocation))
    return try reply()
  }

  /// The same in a thread of its own.
  func claimInThread(
    _ claim: Claim, _ way: Way, for fd: String, through asked: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> String {
    try start(
      all: ["claim"] + fields("claim", claim, way, for: fd, through: asked, sourceLocation))
    return try asynchronousReply("claim")
  }

  /// The same again and again for as long as it is held: the milliseconds that it took.
  func claimWhenFree(
    _ claim: Claim, _ way: Way = .ownSized, for fd: String, through asked: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Double {
    var fields = try fields("claim-until", claim, way, for: fd, through: asked, sourceLocation)
    fields.insert("\(Deadline.usual * Deadline.slowness / 2)", at: 1)
    try send(all: fields)
    return Double(try number(reply: reply(), sourceLocation: sourceLocation)) / 1000
  }

  private func fields(
    _ verb: String, _ claim: Claim, _ way: Way, for fd: String, through asked: String?,
    _ sourceLocation: SourceLocation
  ) throws -> [String] {
    guard way.asked != nil else { return [verb, way.call, fd] + claim.fields }
    let asked = try #require(asked, sourceLocation: sourceLocation)
    return [verb, way.call, asked] + claim.fields + [fd]
  }

  /// What `claim` needs to ask in this way.
  func openAsked(
    _ mount: MountedDaemon, _ way: Way, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> String? {
    try way.asked.map { try open(mount($0), sourceLocation: sourceLocation) }
  }

  /// A descriptor of the managed region that has this permission.
  func hold(
    _ mount: MountedDaemon, _ claim: Claim = Claim(), _ way: Way = .ownSized, file: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> String {
    let fd = try open(mount("buffers/" + (file ?? way.file)), sourceLocation: sourceLocation)
    let asked = try openAsked(mount, way, sourceLocation: sourceLocation)
    let reply = try self.claim(claim, way, for: fd, through: asked, sourceLocation: sourceLocation)
    #expect(reply == "0", sourceLocation: sourceLocation)
    if let asked { #expect(try self("close", asked) == "0", sourceLocation: sourceLocation) }
    return fd
  }
}

extension MountedDaemon {
  /// The lines of the managed region's `permissions`.
  func table() throws -> [String] {
    try read("buffers/permissions").split(separator: "\n").map(String.init)
  }

  /// The word at `offset` of the manager's memory.
  func ownerWord(_ offset: Int = 0x2000) throws -> Int {
    let client = try Client()
    defer { client.kill() }
    let memory = try client("map", client.open(self("manager/data"), "r"), "65536", "0", "ro")
    return try client.number("load", memory, "\(offset)")
  }

  /// Waits until nobody holds anything.
  func waitUntilFree(_ what: String = "all areas are free") throws {
    try eventually("\(what): \((try? table()) ?? ["?"])") { try table().isEmpty }
  }

  /// Waits until the daemon has heard of every descriptor that was closed by now: until it has given
  /// back an area whose only descriptor is closed after them.
  func settle(sourceLocation: SourceLocation = #_sourceLocation) throws {
    let witness = Claim(begin: 0x3f000, end: 0x40000, owner: 0xfffc, value: 0xffff)
    let client = try Client()
    defer { client.kill() }
    _ = try client.hold(self, witness, sourceLocation: sourceLocation)
    try client.finish()
    try eventually("the daemon has settled") {
      try !table().contains { $0.hasPrefix(witness.shown) }
    }
  }

  /// Checks that exactly this is held, and that its owner word says so.
  func expectHeld(
    _ claim: Claim = Claim(), by pid: Int32? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let lines = try table()
    #expect(lines.count == 1, "\(lines)", sourceLocation: sourceLocation)
    let start = claim.shown + " " + (pid.map { "\($0) " } ?? "")
    #expect(lines.first?.hasPrefix(start) == true, "\(lines)", sourceLocation: sourceLocation)
    #expect(try ownerWord(claim.owner) == claim.value, sourceLocation: sourceLocation)
  }

  /// Waits until this is not held any more.
  func expectGivenBack(
    _ claim: Claim = Claim(), sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try waitUntilFree("the area is given back")
    #expect(try ownerWord(claim.owner) == 0, sourceLocation: sourceLocation)
  }
}
