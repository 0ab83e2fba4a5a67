// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import TestSupport
import Testing

extension mt_identity {
  /// An ordinary user who means harm, and one who is harmed. No test makes them: they need no name.
  static let attacker = mt_identity(uid: 33, gid: 33, mount_namespace: -1)
  static let victim = mt_identity(uid: 5, gid: 60, mount_namespace: -1)
}

/// A layout with a region of each of the two users, which nobody else can use.
enum HostileLayout {
  static let regions = """
    { name: "own", size: "64K", uid: 33, gid: 33, mode: "0600",
      peer: { uid: 33, gid: 33, mode: "0600" } },
    { name: "victim", size: "64K", uid: 5, gid: 60, mode: "0600",
      peer: { uid: 5, gid: 60, mode: "0600" } },
    """

  /// - Parameter others: further regions, each with a comma behind it.
  static func text(_ others: String = "") -> String { "{ regions: [ \(regions) \(others) ] }" }
}

/// What a victim measured, in microseconds.
struct VictimTimes {
  let rounds: Int
  let mean: Int
  let p99: Int
  let worst: Int
}

extension MountedDaemon {
  /// Starts one of the attacks in `Tests/Clients/attacker`.
  func attack(
    _ arguments: String..., as user: mt_identity? = .attacker
  ) throws -> ChildProcess {
    try ChildProcess(Programs.attacker, arguments, as: user)
  }

  /// Has the victim ring his own region: as often, within a deadline that is far below what a hang takes.
  @discardableResult
  func victimRings(
    _ rounds: Int = 200, in region: String = "victim",
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> VictimTimes {
    let victim = try attack("victim", self(region), "\(rounds)", as: .victim)
    defer { victim.kill() }
    #expect(try victim.line() == "begins", sourceLocation: sourceLocation)
    let line = try victim.line(within: 20_000)
    let numbers = line.split(separator: " ").compactMap { Int($0) }
    guard numbers.count == 4 else { throw HarnessError("the victim: \(line)") }
    let times = VictimTimes(
      rounds: numbers[0], mean: numbers[1], p99: numbers[2], worst: numbers[3])
    #expect(times.rounds == rounds, sourceLocation: sourceLocation)
    #expect(
      times.worst < 1_000_000 * Deadline.slowness, "µs for one round of the victim",
      sourceLocation: sourceLocation)
    return times
  }
}
