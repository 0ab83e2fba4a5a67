// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import TestSupport
import Testing

@testable import FuseSession

/// Who listens, sleeps and carries out, by the steps that threads take.
@Suite struct ListeningPoolTests {
  private static let seconds = 20.0

  private let pool: ListeningPool

  init() throws {
    pool = ListeningPool(try Semaphore())
  }

  private func request(_ number: UInt64) -> ListeningPool.Work {
    var number = number
    return unsafe withUnsafeMutableBytes(of: &number) { bytes in
      .request(unsafe QueuedRequest(copying: bytes.baseAddress!, length: bytes.count))
    }
  }

  /// What a turn is: 0 for listening, nil for the end, else the request's number.
  private func number(_ turn: ListeningPool.Turn) -> UInt64? {
    switch turn {
    case .end: nil
    case .listen: 0
    case .carryOut(.request(let request)): unsafe request.bytes.load(as: UInt64.self)
    case .carryOut(.close(let handle)): handle
    }
  }

  /// Threads that ask for their next turn while two listen: they sleep.
  private func start(_ count: Int) throws -> Monitor<[UInt64?]> {
    let turns = Monitor([UInt64?]())
    for _ in 0..<count {
      try Thread.start(name: "worker") { [pool] in
        let turn = number(pool.next())
        turns.withLock { $0.append(turn) }
      }
    }
    let deadline = MonotonicInstant.after(seconds: Self.seconds)
    while pool.sleepingCount < count {
      try #require(MonotonicInstant.now < deadline)
      sched_yield()
    }
    return turns
  }

  private func wait(for count: Int, _ turns: Monitor<[UInt64?]>) -> [UInt64?]? {
    turns.wait(until: .after(seconds: Self.seconds)) { $0.count >= count ? $0 : nil }
  }

  @Test func `Two listen, and the last of them stays`() {
    #expect(number(pool.next()) == 0)
    #expect(!pool.leave())
    #expect(number(pool.next()) == 0)
    #expect(pool.leave())
    #expect(!pool.leave())
    // Whoever comes back listens again.
    #expect(number(pool.next()) == 0)
    #expect(pool.leave())
    pool.end()
  }

  @Test func `One that sleeps takes the place of the last listener`() throws {
    #expect(number(pool.next()) == 0)
    #expect(number(pool.next()) == 0)
    let turns = try start(2)
    #expect(pool.leave())
    #expect(pool.leave())
    #expect(wait(for: 1, turns) == [0])
    #expect(pool.leave())
    #expect(wait(for: 2, turns) == [0, 0])
    #expect(!pool.leave())
    pool.end()
  }

  @Test func `What is queued is carried out in order, before anybody listens`() {
    #expect(number(pool.next()) == 0)
    for number in 1...5 as ClosedRange<UInt64> {
      #expect(!pool.leave(orQueue: request(number)))
    }
    for number in 1...5 as ClosedRange<UInt64> { #expect(self.number(pool.next()) == number) }
    #expect(number(pool.next()) == 0)
    pool.end()
  }

  /// Both of those who listen then would wait for a request while there is one.
  @Test func `Nothing is queued when somebody has come back`() throws {
    #expect(number(pool.next()) == 0)
    #expect(!pool.leave())
    #expect(number(pool.next()) == 0)
    #expect(pool.leave(orQueue: request(1)))
    #expect(number(pool.next()) == 0)
    // The same if it sleeps by now.
    let turns = try start(1)
    #expect(pool.leave())
    #expect(pool.leave())
    #expect(wait(for: 1, turns) == [0])
    #expect(!pool.leave(orQueue: request(2)))
    #expect(number(pool.next()) == 2)
    pool.end()
  }

  @Test func `The end wakes everybody who sleeps, and those who were about to listen`() throws {
    #expect(number(pool.next()) == 0)
    #expect(number(pool.next()) == 0)
    let turns = try start(6)
    #expect(pool.leave())
    // One is told to listen, the others sleep.
    #expect(pool.leave())
    #expect(wait(for: 1, turns) == [0])
    pool.end()
    let all = try #require(wait(for: 6, turns))
    #expect(all == [0, nil, nil, nil, nil, nil])
    #expect(number(pool.next()) == nil)
  }

  @Test func `What is queued at the end is carried out by nobody`() {
    #expect(number(pool.next()) == 0)
    #expect(!pool.leave(orQueue: request(1)))
    pool.end()
    pool.end()
    #expect(number(pool.next()) == nil)
  }

  /// No request is lost and no thread either: as many requests as there are tickets, by threads that
  /// listen, leave, queue and come back as they like.
  @Test(arguments: [2, 3, 5])
  func `Threads that come and go carry out each request once`(threads: Int) throws {
    let total: UInt64 = 20_000
    let connection = Connection(total)
    let ended = Monitor(0)
    for _ in 0..<threads {
      try Thread.start(name: "worker") { [pool] in
        work(pool, connection)
        ended.withLock { $0 += 1 }
      }
    }
    let isDone = connection.state.wait(until: .after(seconds: 60)) { state in
      state.done == total ? true : nil
    }
    #expect(isDone == true, "requests are lost")
    connection.state.withLock { $0.isClosed = true }
    let isOver = ended.wait(until: .after(seconds: Self.seconds)) { $0 == threads ? true : nil }
    #expect(isOver == true, "threads are lost")
  }

  /// Gives a request at a time: the next one only when the last was carried out, as a client does
  /// that calls and waits.
  private final class Connection: Sendable {
    let state: Monitor<(given: UInt64, done: UInt64, isClosed: Bool)>
    let total: UInt64

    init(_ total: UInt64) {
      self.total = total
      state = Monitor((0, 0, false))
    }

    /// nil: the end.
    func receive() -> UInt64? {
      let result = state.wait(until: .after(seconds: 120)) { state -> UInt64?? in
        if state.isClosed { return .some(nil) }
        guard state.given == state.done, state.given < total else { return nil }
        state.given += 1
        return state.given
      }
      return result ?? nil
    }

    func carryOut() { state.withLock { $0.done += 1 } }
  }

  private func work(_ pool: ListeningPool, _ connection: Connection) {
    while true {
      switch pool.next() {
      case .end: return
      case .carryOut: connection.carryOut()
      case .listen:
        guard listen(pool, connection) else { return pool.end() }
      }
    }
  }

  private func listen(_ pool: ListeningPool, _ connection: Connection) -> Bool {
    while let number = connection.receive() {
      if !pool.leave() {
        sched_yield()
        guard pool.leave(orQueue: request(number)) else { continue }
      }
      connection.carryOut()
      return true
    }
    return false
  }
}
