// SPDX-License-Identifier: Apache-2.0

internal import CVsocBench
internal import Glibc

/// A client to start: its kind, where it runs and its arguments (client.c).
struct Client {
  var kind: String
  /// -1: wherever the scheduler puts it.
  var cpu: Int
  var arguments: [String]

  init(_ kind: String, cpu: Int, _ arguments: String...) {
    self.kind = kind
    self.cpu = cpu
    self.arguments = arguments
  }
}

/// Clients that were started together and share a board.
final class ClientGroup {
  let board: Board
  private let workplace: Workplace
  private let errors: Int32
  private(set) var children: [Child] = []

  init(
    _ clients: [Client], handing descriptors: [Int32] = [], in workplace: Workplace,
    limit: Double = Workplace.roundLimit
  ) throws(BenchError) {
    self.workplace = workplace
    board = try Board()
    errors = try workplace.openErrors()
    for client in clients {
      let arguments =
        ["/proc/self/exe", "client", client.kind, "\(client.cpu)", "\(Int(limit))"]
        + client.arguments
      children.append(
        try Child(
          "client \(client.kind)", arguments: arguments,
          descriptors: [board.descriptor] + descriptors, errorDescriptor: errors))
    }
  }

  deinit {
    for child in children { child.signal(SIGKILL) }
    // One that stands in an unanswered FUSE request ends only when its daemon does; nobody waits
    // for it here.
    for child in children { _ = child.wait(until: Deadline(seconds: 1)) }
    close(errors)
  }

  /// Waits until all have ended, without an error.
  func finish(limit: Double = Workplace.roundLimit) throws(BenchError) {
    let deadline = Deadline(seconds: limit)
    while true {
      for child in children {
        if let status = child.ended(), status != 0 { throw failure(of: child, status) }
      }
      let running = children.filter { $0.ended() == nil }
      if running.isEmpty { return }
      if try workplace.waitForOne(of: running.map(\.descriptor), until: deadline) == nil {
        throw BenchError("\(running[0].name) did not end within \(Int(limit)) s")
      }
    }
  }

  /// Waits until `condition` holds; the clients go on.
  func wait(
    for what: String, limit: Double = Workplace.roundLimit, _ condition: (Board) -> Bool
  ) throws(BenchError) {
    let deadline = Deadline(seconds: limit)
    while !condition(board) {
      for child in children {
        if let status = child.ended() { throw failure(of: child, status) }
      }
      if deadline.milliseconds == 0 { throw BenchError("no \(what) within \(Int(limit)) s") }
      try workplace.sleep(0.01)
    }
  }

  func signal(_ number: Int32) {
    for child in children { child.signal(number) }
  }

  private func failure(of child: Child, _ status: Int32) -> BenchError {
    let reason = board.error ?? workplace.lastLine(of: errors) ?? Child.describe(status)
    return BenchError("\(child.name): \(reason)")
  }
}
