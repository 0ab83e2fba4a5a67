// SPDX-License-Identifier: Apache-2.0

import Testing
import VsocProtocol

@testable import VsocEngine

@Suite struct SignalTests {
  private let fixture: Fixture
  private let region: Region

  init() throws {
    fixture = try Fixture()
    region = fixture.region
  }

  @Test func `Injections that nobody has read yet are one notification`() throws {
    let reader = region.openSignal(.host)
    for _ in 0..<3 { try region.inject(from: .guest) }
    #expect(try region.read(reader) == 1)
    #expect(try region.read(reader) == nil)
    try region.inject(from: .guest)
    #expect(try region.read(reader) == 2)
  }

  @Test func `Each end has its own`() throws {
    let guest = region.openSignal(.guest)
    let host = region.openSignal(.host)
    try region.inject(from: .host)
    #expect(try region.read(guest) == 1)
    #expect(try region.read(host) == nil)
  }

  @Test func `Every reader sees every advance of the count`() throws {
    let (one, other) = (region.openSignal(.host), region.openSignal(.host))
    let blocked = try fixture.park(other)
    try region.inject(from: .guest)
    #expect(blocked.wait() == .success(1))
    #expect(try region.read(one) == 1)
    let late = region.openSignal(.host)
    #expect(try region.read(late) == nil)
  }

  @Test func `While masked nothing is due, and it is delivered on enable`() throws {
    let observer = CountingObserver()
    let reader = region.openSignal(.host, observer: observer)
    let blocked = try fixture.park(region.openSignal(.host))
    try region.disableSignal(.host)
    try region.inject(from: .guest)
    #expect(try !region.isReadable(reader))
    #expect(try region.read(reader) == nil)
    #expect(blocked.isWaiting)
    #expect(observer.count == 0)
    try region.enableSignal(.host)
    #expect(blocked.wait() == .success(1))
    #expect(observer.count > 0)
    #expect(try region.read(reader) == 1)
  }

  @Test func `A count that was delivered before the mask is news after it`() throws {
    let (one, other) = (region.openSignal(.host), region.openSignal(.host))
    try region.inject(from: .guest)
    #expect(try region.read(one) == 1)
    try region.disableSignal(.host)
    let blocked = try fixture.park(other)
    #expect(blocked.isWaiting)
    try region.enableSignal(.host)
    #expect(blocked.wait() == .success(1))
  }

  @Test func `A ring makes an end look for signals that came through the mapping`() throws {
    let blocked = try fixture.park(region.openSignal(.host))
    #expect(try fixture.memory.signal.inject(to: .host))
    #expect(blocked.isWaiting)
    try region.sendInterrupt(from: .guest)
    #expect(blocked.wait() == .success(1))
  }

  @Test func `A closed reader is answered`() throws {
    let reader = region.openSignal(.host)
    let read = try fixture.park(reader)
    region.close(reader)
    #expect(read.wait() == .failure(.gone))
  }

  @Test func `A peer that set pending and died does not silence those who come after`() throws {
    let blocked = try fixture.park(region.openSignal(.host))
    #expect(try fixture.memory.signal.inject(to: .host))
    try region.inject(from: .guest)
    #expect(blocked.wait() == .success(1))
  }
}
