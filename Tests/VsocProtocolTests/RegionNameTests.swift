// SPDX-License-Identifier: Apache-2.0

import Testing
import VsocProtocol

@Suite struct RegionNameTests {
  @Test(arguments: [
    "a", "manager", "with space", " ", "-", "a.b", "trailing.", "123456789012345", "öäüßöäü",
    "日本語日本", "😀😀😀", "\u{7f}",
  ])
  func `A name is 1 to 15 bytes of UTF-8`(text: String) throws {
    let name = try #require(RegionName(text))
    #expect(name.description == text)
    #expect(name.description.utf8.elementsEqual(text.utf8))
  }

  @Test(arguments: [
    "", ".", "..", ".hidden", ".vsocfs", "/", "a/b", "a/", "\0", "a\0b", "1234567890123456",
    "öäüßöäüß", "日本語日本語", "😀😀😀😀",
  ])
  func `Everything else is not a name`(text: String) {
    #expect(RegionName(text) == nil)
  }

  /// The kernel tells names apart by their bytes; a String does not.
  @Test func `Canonically equivalent names are different names`() throws {
    let composed = try #require(RegionName("\u{e9}"))
    let decomposed = try #require(RegionName("e\u{301}"))
    #expect(composed.description == decomposed.description)
    #expect(composed != decomposed)
    #expect(Set([composed, decomposed, RegionName("\u{e9}")!]).count == 2)
  }
}
