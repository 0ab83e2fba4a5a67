// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import VsocConfiguration

@Suite struct ByteSizeTests {
  @Test(
    "sizes and their shortest text",
    arguments: [
      ("0", 0, "0"), ("1", 1, "1"), ("4096", 4096, "4K"), ("64K", 65536, "64K"),
      ("64k", 65536, "64K"), ("1024K", 1 << 20, "1M"), ("1000k", 1_024_000, "1000K"),
      ("16M", 16 << 20, "16M"), ("16m", 16 << 20, "16M"), ("1G", 1 << 30, "1G"),
      ("1g", 1 << 30, "1G"), ("1025", 1025, "1025"), ("0K", 0, "0"), ("007", 7, "7"),
      ("18446744073709551615", UInt64.max, "18446744073709551615"),
      ("17179869183G", 17_179_869_183 << 30, "17179869183G"),
    ] as [(String, UInt64, String)])
  func size(text: String, bytes: UInt64, shortest: String) throws {
    let size = try #require(ByteSize(text))
    #expect(size.bytes == bytes)
    #expect(size.description == shortest)
    #expect(ByteSize(size.description) == size)
  }

  @Test(
    "what is no size",
    arguments: [
      "", "K", "-1", "+1", " 1", "1 ", "1 K", "1KK", "1KiB", "1T", "1.5M", "0x10", "1e3", "K1",
      "18446744073709551616", "17179869184G", "99999999999999999999999999", "١",
    ])
  func noSize(text: String) {
    #expect(ByteSize(text) == nil)
  }
}
