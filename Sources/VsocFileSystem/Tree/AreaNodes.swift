// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import VsocEngine

/// A file of a managed region as one lookup found it, so that each open handle is of a node of its
/// own: the kernel has one backing file, or one page cache, a node, and each handle its own area.
final class AreaNode: Sendable {
  /// The node id.
  let number: UInt64
  /// What it is a name of.
  let node: Node
  private struct State {
    var isOpen = false
    var handle: AreaHandle?
  }
  private let state = Lock(State())

  init(_ number: UInt64, _ node: Node) {
    self.number = number
    self.node = node
  }

  /// The handle that is open, if it is one that can have a permission.
  var handle: AreaHandle? { state.withLock { $0.handle } }

  /// False if it is open already: another handle would reach the same area.
  func beginOpen() -> Bool {
    state.withLock { state in
      defer { state.isOpen = true }
      return !state.isOpen
    }
  }

  func setHandle(_ handle: AreaHandle) { state.withLock { $0.handle = handle } }

  func endOpen() {
    state.withLock { state in
      state.handle = nil
      state.isOpen = false
    }
  }
}

/// The nodes of managed regions that the kernel knows, with its lookup counts. Ids are not used twice. Each
/// counts for the user who first looked it up.
final class AreaNodes: Sendable {
  private static let capacity = 32_768
  /// Beyond all numbers that say what a node is (`Node`).
  private static let firstNumber: UInt64 = 1 << 48

  private struct Entry {
    let node: AreaNode
    let user: UInt32
    var lookups: UInt64
  }

  private struct Table {
    var entries: [UInt64: Entry] = [:]
    var next = AreaNodes.firstNumber
    var shares: UserShares
  }

  private let table: Lock<Table>

  init(trusted: UserShares.Trusted) {
    table = Lock(Table(shares: UserShares(of: Self.capacity, trusted: trusted)))
  }

  /// A node for a lookup that is about to be answered with it; nil if its user has as many as he may.
  func add(_ node: Node, for user: UInt32) -> AreaNode? {
    table.withLock { table in
      guard table.shares.take(for: user) else { return nil }
      let new = AreaNode(table.next, node)
      table.next += 1
      table.entries[new.number] = Entry(node: new, user: user, lookups: 1)
      return new
    }
  }

  subscript(number: UInt64) -> AreaNode? {
    number < Self.firstNumber ? nil : table.withLock { $0.entries[number]?.node }
  }

  /// The same node was found by another lookup.
  func addLookup(_ number: UInt64) {
    table.withLock { $0.entries[number]?.lookups += 1 }
  }

  func forget(_ number: UInt64, _ count: UInt64) {
    guard number >= Self.firstNumber else { return }
    table.withLock { table in
      guard let entry = table.entries[number] else { return }
      if entry.lookups > count {
        table.entries[number]?.lookups -= count
      } else {
        table.entries.removeValue(forKey: number)
        table.shares.giveBack(of: entry.user)
      }
    }
  }

  var count: Int { table.withLock { $0.entries.count } }
}

extension VsocFileSystem {
  /// What a node id means to the kernel; nil for none.
  func find(_ number: UInt64) -> (node: Node, area: AreaNode?)? {
    if let area = areaNodes[number] { return (area.node, area) }
    return Node(number).map { ($0, nil) }
  }
}
