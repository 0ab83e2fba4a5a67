// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import VsocPeers

/// What those are told who read at their own pace.
@Suite struct RollTests {
  private struct Reader {
    var reader: Roll.Reader
    var known: Set<UInt16> = []

    /// Reads one message; false if there is none.
    mutating func read(_ roll: Roll) -> Bool {
      guard let news = roll.next(for: &reader) else { return false }
      reader.wasTold(news)
      if news.isGone {
        #expect(known.remove(news.id) != nil, "\(news.id) was never told of")
      } else {
        #expect(known.insert(news.id).inserted, "\(news.id) was told of twice")
      }
      return true
    }
  }

  /// Ids are few, so that they come again soon.
  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `Everybody knows in the end who is there, and of whose going he must`(seed: UInt64) {
    var random = SplitMix(state: seed)
    var roll = Roll()
    var present: [(id: UInt16, arrival: Roll.Time)] = []
    var readers: [Reader] = []
    for _ in 0..<3000 {
      switch Int.random(in: 0..<8, using: &random) {
      case 0...1:
        let id = UInt16.random(in: 2..<12, using: &random)
        if !present.contains(where: { $0.id == id }) { present.append((id, roll.enter(id))) }
      case 2...3:
        if let index = present.indices.randomElement(using: &random) {
          roll.leave(present.remove(at: index).arrival)
        }
      case 4:
        if readers.count < 8 { readers.append(Reader(reader: Roll.Reader(of: roll))) }
      case 5:
        if readers.count > 2 {
          readers.remove(at: Int.random(in: 2..<readers.count, using: &random))
        }
        if roll.isFull { roll.forget(exceptFor: readers.map(\.reader)) }
      default:
        // The first one reads nothing.
        if readers.count > 1 {
          let index = Int.random(in: 1..<readers.count, using: &random)
          _ = readers[index].read(roll)
        }
      }
    }
    for index in readers.indices {
      while readers[index].read(roll) {}
      #expect(readers[index].known == Set(present.map(\.id)), "reader \(index)")
    }
  }

  @Test func `Nothing is kept of those whom nobody was told of`() {
    var roll = Roll()
    let early = roll.enter(2)
    var stalled = Roll.Reader(of: roll)
    stalled.wasTold(roll.next(for: &stalled)!)
    for _ in 0..<10_000 {
      roll.leave(roll.enter(3))
      if roll.isFull { roll.forget(exceptFor: [stalled]) }
    }
    #expect(roll.departureCount < 200)
    roll.leave(early)
    roll.forget(exceptFor: [stalled])
    #expect(roll.departureCount == 1)
    #expect(roll.next(for: &stalled)?.isGone == true)
  }

  @Test func `Users have their turns`() {
    var queue = FairQueue<Int>()
    for number in 0..<100 { queue.append(number, of: 1) }
    queue.append(100, of: 2)
    queue.append(101, of: 2)
    var order: [Int] = []
    while let next = queue.popFirst() { order.append(next) }
    #expect(order.prefix(5) == [0, 100, 1, 101, 2])
    #expect(order.count == 102 && queue.isEmpty)
    #expect(order.filter { $0 < 100 } == Array(0..<100))
  }
}
