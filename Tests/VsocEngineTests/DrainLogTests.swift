// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import VsocEngine

@Suite struct DrainLogTests {
  @Test func `A reader gets each offset once, in the order of their last arrival`() {
    var log = DrainLog()
    for offset: UInt32 in [8, 12, 8, 16] { log.append(offset) { 0 } }
    var position: UInt64 = 0
    #expect(log.read(from: &position, capacity: 10) == [12, 8, 16])
    #expect(!log.hasEntries(after: position))
    log.append(12) { position }
    #expect(log.read(from: &position, capacity: 10) == [12])
  }

  @Test func `A read stops at its capacity and goes on there`() {
    var log = DrainLog()
    for offset: UInt32 in [4, 8, 12] { log.append(offset) { 0 } }
    var position: UInt64 = 0
    #expect(log.read(from: &position, capacity: 2) == [4, 8])
    #expect(log.hasEntries(after: position))
    #expect(log.read(from: &position, capacity: 2) == [12])
  }

  @Test func `What everybody has read is not kept`() {
    var log = DrainLog()
    var position: UInt64 = 0
    for round: UInt32 in 0..<10_000 {
      log.append(4 * (round % 7)) { position }
      _ = log.read(from: &position, capacity: 100)
    }
    #expect(log.count < 100)
  }

  @Test func `Memory is bounded, and who falls behind is told`() {
    var log = DrainLog(limit: 100)
    var position: UInt64 = 0
    for offset: UInt32 in 1...1000 { log.append(4 * offset) { position } }
    #expect(log.count <= 250)
    let offsets = log.read(from: &position, capacity: 1000)
    #expect(offsets.first == DrainLog.overflow)
    #expect(offsets.last == 4000)
    #expect(offsets.dropFirst().count >= 50)
    #expect(log.read(from: &position, capacity: 1000).isEmpty)
  }

  @Test func `What a user may have kept is bounded for all his logs together`() {
    let quota = UserQuota(UserShares(of: 8, trusted: .init(daemon: 0)))
    func log(of user: UInt32) -> DrainLog { DrainLog(allowance: KeptOffsets(quota, of: user)) }
    func fill(_ log: inout DrainLog) {
      for offset: UInt32 in 1...10_000 { log.append(4 * offset) { 0 } }
    }
    // Half of it: four portions.
    var logs = [log(of: 33), log(of: 33)]
    for index in logs.indices { fill(&logs[index]) }
    #expect((2048...9000).contains(logs[0].count))
    #expect(logs[1].count <= 3 * KeptOffsets.free)
    var position: UInt64 = 0
    #expect(logs[1].read(from: &position, capacity: 1) == [DrainLog.overflow])
    // Another one has his own, and what is given back can be had again.
    var other = log(of: 5)
    fill(&other)
    #expect(other.count >= 2048)
    logs[0].removeAll()
    fill(&logs[1])
    #expect(logs[1].count >= 2048)
    #expect(quota.take(4, for: 0) == false)
  }

  /// Against the plainest model: a set for each reader.
  @Test(arguments: 0..<20 as Range<UInt64>)
  func `Any number of readers at any pace see what a set each would hold`(seed: UInt64) {
    var random = SplitMix(state: seed)
    var log = DrainLog()
    var readers = (0..<4).map { _ in (position: UInt64(0), model: Set<UInt32>()) }
    for _ in 0..<3000 {
      if random.next() % 3 != 0 {
        let offset = UInt32(random.next() % 40) * 4
        log.append(offset) { readers.map(\.position).min() ?? 0 }
        for index in readers.indices { readers[index].model.insert(offset) }
      } else {
        let index = Int(random.next() % 4)
        let read = log.read(
          from: &readers[index].position, capacity: Int(random.next() % 8) + 1)
        #expect(Set(read).count == read.count)
        #expect(readers[index].model.isSuperset(of: read))
        readers[index].model.subtract(read)
        #expect(log.hasEntries(after: readers[index].position) == !readers[index].model.isEmpty)
      }
    }
    for index in readers.indices {
      #expect(
        Set(log.read(from: &readers[index].position, capacity: 1000)) == readers[index].model)
    }
  }
}
