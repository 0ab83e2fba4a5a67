// SPDX-License-Identifier: Apache-2.0

import Testing

/// A `vsoc-client` (Tests/Clients): a C program in a process of its own that makes one system call
/// after the other as it is told, and says what came of each.
final class Client {
  /// How the client is compiled.
  enum ABI: String, CaseIterable, CustomTestStringConvertible {
    case native
    case i386

    var testDescription: String { rawValue }
  }

  let process: ChildProcess
  private var replies: [String] = []
  /// Replies of commands that run in threads of their own.
  private var asynchronousReplies: [String: String] = [:]

  init(_ abi: ABI = .native) throws {
    process = try ChildProcess(abi == .native ? Programs.client : Programs.client32(), [])
  }

  /// One that runs already.
  init(_ process: ChildProcess) {
    self.process = process
  }

  var pid: Int32 { process.pid }

  // MARK: Commands

  /// Tells it to do something; `reply` says what came of it.
  func send(_ fields: String...) throws {
    try send(all: fields)
  }

  func send(all fields: [String]) throws {
    let escaped = fields.map { field in
      field.reduce(into: "") { text, character in
        switch character {
        case "\n": text += "\\n"
        case "\\": text += "\\\\"
        default: text.append(character)
        }
      }
    }
    try process.send(line: escaped.joined(separator: "\u{1f}"))
  }

  /// The reply to the last command: a number or a text, or the name of the errno.
  func reply(within milliseconds: Int = Deadline.usual) throws -> String {
    let deadline = Deadline(milliseconds: milliseconds)
    while replies.isEmpty { try readLine(deadline) }
    return replies.removeFirst()
  }

  /// Does something and says what came of it.
  @discardableResult
  func callAsFunction(
    _ fields: String..., within milliseconds: Int = Deadline.usual
  ) throws -> String {
    try send(all: fields)
    return try reply(within: milliseconds)
  }

  /// Does something that must succeed with a number.
  func number(_ fields: String..., sourceLocation: SourceLocation = #_sourceLocation) throws -> Int
  {
    try send(all: fields)
    let reply = try reply()
    return try #require(
      Int(reply), "\(fields.joined(separator: " ")): \(reply)", sourceLocation: sourceLocation)
  }

  /// The number that a reply must be.
  func number(reply: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> Int {
    try #require(Int(reply), "\(reply)", sourceLocation: sourceLocation)
  }

  /// Opens a file: the descriptor's number.
  func open(
    _ path: String, _ flags: String = "rw", sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> String {
    String(try number("open", path, flags, sourceLocation: sourceLocation))
  }

  // MARK: Commands in threads of their own

  /// Starts a command in a thread; `asynchronousReply` with the same tag says what came of it.
  func start(_ tag: String, _ fields: String...) throws {
    try start(all: [tag] + fields)
  }

  func start(all tagAndFields: [String]) throws {
    try send(all: ["async", "@" + tagAndFields[0]] + tagAndFields.dropFirst())
    let reply = try reply()
    guard reply == "0" else { throw HarnessError("no thread: \(reply)") }
  }

  func asynchronousReply(
    _ tag: String, within milliseconds: Int = Deadline.usual
  ) throws -> String {
    let deadline = Deadline(milliseconds: milliseconds)
    while true {
      if let reply = asynchronousReplies.removeValue(forKey: tag) { return reply }
      try readLine(deadline)
    }
  }

  private func readLine(_ deadline: Deadline) throws {
    let line = try process.line(until: deadline)
    guard line.hasPrefix("@") else {
      replies.append(line)
      return
    }
    let words = line.dropFirst().split(separator: " ", maxSplits: 1)
    asynchronousReplies[String(words[0])] = words.count > 1 ? String(words[1]) : ""
  }

  /// Whether a reply is there already.
  var hasReplied: Bool {
    get throws {
      while try process.hasLine { try readLine(Deadline()) }
      return !replies.isEmpty || !asynchronousReplies.isEmpty
    }
  }

  // MARK: The process

  /// Waits until this many of its threads sleep there, for good as far as one can see.
  func waitUntilBlocked(
    in place: Proc.Place = .request, threads: Int = 1, within milliseconds: Int = Deadline.usual
  ) throws {
    try Proc.waitForSleepers(pid, at: place, count: threads, within: milliseconds)
  }

  func signal(_ number: Int32) {
    process.signal(number)
  }

  /// Lets it end by itself, which closes whatever it has open.
  func finish() throws {
    process.closeInput()
    _ = try process.wait()
  }

  /// Kills it; false if it would not die.
  @discardableResult
  func kill() -> Bool {
    process.kill()
  }
}
