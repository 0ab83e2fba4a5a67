// SPDX-License-Identifier: Apache-2.0

import Testing
import VsocProtocol

extension Races {
  @Suite struct PostingRaceTests {
    @Test(arguments: [0, 1, 6] as [UInt32])
    func `A million posts of four senders and none is lost`(slotsLg2: UInt32) throws {
      let race = try PostingRace(slotsLg2: slotsLg2, posts: 1_000_000)
      let outcome = try #require(
        try race.run(seconds: 60), "a wakeup was lost: somebody sleeps for ever")
      #expect(outcome.complaints.isEmpty)
      #expect(outcome.posted == outcome.drained)
    }

    /// Each sender waits after every post until that very post has been seen: the loss of any is a
    /// deadlock, where otherwise the next one may hide it.
    @Test(arguments: [0, 1, 6] as [UInt32])
    func `No single post is lost`(slotsLg2: UInt32) throws {
      let race = try PostingRace(slotsLg2: slotsLg2, posts: 60_000)
      let outcome = try #require(
        try race.run(seconds: 60, rendezvous: true), "a wakeup was lost: somebody sleeps for ever")
      #expect(outcome.complaints.isEmpty)
    }

    @Test(arguments: [0, 3] as [UInt32])
    func `Two receivers drain at once and none is lost or taken twice`(slotsLg2: UInt32) throws {
      let race = try PostingRace(slotsLg2: slotsLg2, receivers: 2, posts: 100_000)
      let outcome = try #require(
        try race.run(seconds: 60), "a wakeup was lost: somebody sleeps for ever")
      #expect(outcome.complaints.isEmpty)
      #expect(outcome.posted == outcome.drained)
    }
  }
}
