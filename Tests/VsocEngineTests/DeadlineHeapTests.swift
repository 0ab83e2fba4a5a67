// SPDX-License-Identifier: Apache-2.0

import LinuxSystem
import TestSupport
import Testing

@testable import VsocEngine

@Suite struct DeadlineHeapTests {
  @Test(arguments: 0..<10 as Range<UInt64>)
  func `Deadlines come out in order, whatever was taken out before`(seed: UInt64) {
    var random = SplitMix(state: seed)
    var heap = DeadlineHeap()
    var model: [UInt64: UInt64] = [:]
    for token: UInt64 in 1...500 {
      let deadline = random.next() % 200
      heap.insert(token, MonotonicInstant(nanoseconds: deadline))
      model[token] = deadline
      if random.next() % 3 == 0 {
        let gone = random.next() % token + 1
        heap.remove(gone)
        model[gone] = nil
      }
    }
    var last: UInt64 = 0
    while let first = heap.first {
      #expect(first.deadline.nanoseconds >= last)
      #expect(model.removeValue(forKey: first.token) == first.deadline.nanoseconds)
      last = first.deadline.nanoseconds
      heap.remove(first.token)
    }
    #expect(model.isEmpty)
  }
}
