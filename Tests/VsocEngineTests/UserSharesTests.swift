// SPDX-License-Identifier: Apache-2.0

import Testing
import VsocEngine

@Suite struct UserSharesTests {
  /// Ten of something; what a macro tries may change it.
  private final class Pool {
    var shares = UserShares(of: 10, trusted: .init(daemon: 1000))
    func take(_ amount: Int = 1, for user: UInt32) -> Bool { shares.take(amount, for: user) }
  }
  private let pool = Pool()

  @Test func `a user gets half at most, and others the rest`() {
    for _ in 0..<5 { #expect(pool.take(for: 33)) }
    #expect(!pool.take(for: 33))
    #expect(pool.take(5, for: 5))
    #expect(!pool.take(for: 7), "there is nothing left")
    #expect(pool.shares.used == 10)
  }

  @Test(arguments: [0, 1000] as [UInt32])
  func `root and the user of the daemon may have all`(user: UInt32) {
    #expect(!pool.take(11, for: user))
    #expect(pool.take(10, for: user))
    #expect(!pool.take(for: user))
  }

  @Test func `what a user gets can be less than half`() {
    var shares = UserShares(of: 10, each: 2, trusted: .init(daemon: 0))
    let granted = (0..<3).map { _ in shares.take(for: 33) }
    #expect(granted == [true, true, false])
    shares.record(5, of: 33)
    #expect(shares.used == 7 && shares.amount(of: 33) == 7)
    #expect(shares.hasRoom(for: 0, of: 33) && !shares.hasRoom(for: 1, of: 33))
  }

  @Test func `what does not fit gives nothing`() {
    #expect(!pool.take(6, for: 33))
    #expect(pool.shares.used == 0 && pool.shares.amount(of: 33) == 0)
  }

  @Test func `what is given back can be had again`() {
    #expect(pool.take(5, for: 33))
    pool.shares.giveBack(2, of: 33)
    #expect(pool.shares.amount(of: 33) == 3 && pool.shares.used == 3)
    #expect(pool.take(2, for: 33))
    pool.shares.giveBack(5, of: 33)
    #expect(pool.shares.used == 0)
  }
}
