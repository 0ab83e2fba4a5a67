// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing
import VsocEngine
import VsocProtocol

@testable import VsocConfiguration

private let defaults = RegionDefaults(uid: 7, gid: 8)

private func parse(_ text: String) throws(ConfigurationError) -> [RegionConfiguration] {
  try Layout.parse(text, source: "F", defaults: defaults)
}

@Suite struct LayoutTests {
  @Test func `the example of the documentation`() throws {
    let regions = try parse(
      """
      {
        regions: [
          // defaults: size 1MiB, nodes_lg2 6, versions 0, uid/gid of the daemon, mode "0660"
          { name: "manager", size: "64K" },
          { name: "buffers", size: "16M", managed_by: "manager" },
          { name: "input", size: "1M", nodes_lg2: { guest_to_host: 4, host_to_guest: 10 },
            current_version: 2, min_compatible_version: 1,
            uid: 0, gid: 1000, mode: "0660", peer: { uid: 0, gid: 0, mode: "0600" } },
        ],
      }
      """)
    let access = EndAccess(uid: 7, gid: 8, mode: 0o660)
    let manager = RegionConfiguration(
      name: RegionName("manager")!, geometry: try RegionGeometry(size: 65536), guest: access,
      host: access)
    var buffers = RegionConfiguration(
      name: RegionName("buffers")!, geometry: try RegionGeometry(size: 16 << 20), guest: access,
      host: access)
    buffers.managedBy = RegionName("manager")
    var input = RegionConfiguration(
      name: RegionName("input")!,
      geometry: try RegionGeometry(
        size: 1 << 20, guestToHostNodesLg2: 4, hostToGuestNodesLg2: 10),
      guest: EndAccess(uid: 0, gid: 1000, mode: 0o660),
      host: EndAccess(uid: 0, gid: 0, mode: 0o600))
    input.currentVersion = 2
    input.minCompatibleVersion = 1
    #expect(regions == [manager, buffers, input])
  }

  @Test func `what is written`() throws {
    let text = Layout.text(
      of: try parse(#"{regions: [{name: "a\"\n", nodes_lg2: 3}, {name: 'b', managed_by: 'a"\n'}]}"#)
    )
    #expect(
      text == #"""
        {
          regions: [
            {
              name: "a\"\u000a", size: "1M", managed_by: null,
              nodes_lg2: { guest_to_host: 3, host_to_guest: 3 },
              current_version: 0, min_compatible_version: 0,
              uid: 7, gid: 8, mode: "0660",
              peer: { uid: 7, gid: 8, mode: "0660" },
            },
            {
              name: "b", size: "1M", managed_by: "a\"\u000a",
              nodes_lg2: { guest_to_host: 6, host_to_guest: 6 },
              current_version: 0, min_compatible_version: 0,
              uid: 7, gid: 8, mode: "0660",
              peer: { uid: 7, gid: 8, mode: "0660" },
            },
          ],
        }

        """#)
  }

  @Test func `a layout without regions`() throws {
    #expect(try parse("{regions: []}") == [])
    #expect(try parse(Layout.text(of: [])) == [])
  }

  @Test(
    "what a region says, as it is written",
    arguments: [
      ("size: 4198400", #"size: "4100K","#), ("size: 0x10000", #"size: "64K","#),
      ("size: '12K'", #"size: "12K","#), ("size: 4294963200", #"size: "4194300K","#),
      ("nodes_lg2: 0", "{ guest_to_host: 0, host_to_guest: 0 }"),
      ("size: '12K', nodes_lg2: 8", "{ guest_to_host: 8, host_to_guest: 8 }"),
      ("nodes_lg2: {host_to_guest: 2}", "{ guest_to_host: 6, host_to_guest: 2 }"),
      ("nodes_lg2: {}", "{ guest_to_host: 6, host_to_guest: 6 }"),
      ("current_version: 65535", "current_version: 65535, min_compatible_version: 0,"),
      ("min_compatible_version: 3", "current_version: 0, min_compatible_version: 3,"),
      ("managed_by: null", "managed_by: null"),
      ("uid: 4294967294", #"      uid: 4294967294, gid: 8, mode: "0660","#),
      ("uid: 9", #"peer: { uid: 9, gid: 8, mode: "0660" }"#),
      ("mode: '0'", #"      uid: 7, gid: 8, mode: "0000","#),
      ("mode: '666'", #"      uid: 7, gid: 8, mode: "0666","#),
      ("mode: '000644'", #"peer: { uid: 7, gid: 8, mode: "0644" }"#),
      ("gid: 3, peer: {uid: 1}", #"peer: { uid: 1, gid: 3, mode: "0660" }"#),
      ("mode: '0600', peer: {gid: 2}", #"peer: { uid: 7, gid: 2, mode: "0600" }"#),
      ("peer: {mode: '0'}", #"      uid: 7, gid: 8, mode: "0660","#),
      ("peer: {mode: '0'}", #"peer: { uid: 7, gid: 8, mode: "0000" }"#),
    ])
  func region(members: String, line: String) throws {
    let text = Layout.text(of: try parse("{regions: [{name: 'x', \(members)}]}"))
    #expect(text.contains(line))
  }

  @Test(
    "names",
    arguments: [
      "a", "fifteen bytes !", "sieben Käse", "日本語日本", "a.b", "a:b", "a\\b", "a\"b", "-o",
      "a\u{1}b", "line\nfeed", "\u{2028}", "\u{feff}x", "é", "e\u{301}", "🏳️‍🌈",
    ])
  func name(name: String) throws {
    let regions = [
      RegionConfiguration(
        name: try #require(RegionName(name)), geometry: try RegionGeometry(size: 65536),
        guest: defaults.access, host: defaults.access)
    ]
    let read = try parse(Layout.text(of: regions))
    #expect(read == regions)
    #expect(read[0].name.description.utf8.elementsEqual(name.utf8))
  }
}

@Suite struct LayoutRoundTripTests {
  @Test(arguments: 0..<300)
  func `a layout parses back to the same and is written the same`(seed: UInt64) throws {
    var random = SplitMix(state: seed)
    let regions = (0..<Int.random(in: 0...12, using: &random)).map {
      Self.region(index: $0, using: &random)
    }
    let text = Layout.text(of: regions)
    // Other defaults, since none may count.
    let read = try Layout.parse(
      text, source: "F", defaults: RegionDefaults(uid: 1, gid: 2, mode: 0, size: 1 << 30))
    #expect(read == regions)
    #expect(Layout.text(of: read) == text)
  }

  /// A region that may be managed by the first, whose name is "a".
  private static func region(
    index: Int, using random: inout SplitMix
  ) -> RegionConfiguration {
    func access() -> EndAccess {
      EndAccess(
        uid: UInt32.random(in: 0..<UInt32.max, using: &random),
        gid: UInt32.random(in: 0...2000, using: &random),
        mode: UInt32.random(in: 0...0o777, using: &random))
    }
    var geometry: RegionGeometry?
    while geometry == nil {
      let pages = UInt64(1) << UInt64.random(in: 0...20, using: &random)
      geometry = try? RegionGeometry(
        size: UInt64.random(in: 1...pages, using: &random) * 4096,
        guestToHostNodesLg2: UInt32.random(in: 0...29, using: &random),
        hostToGuestNodesLg2: UInt32.random(in: 0...29, using: &random))
    }
    var region = RegionConfiguration(
      name: name(index, using: &random), geometry: geometry!, guest: access(), host: access())
    region.currentVersion = UInt16.random(in: 0...UInt16.max, using: &random)
    region.minCompatibleVersion = UInt16.random(in: 0...UInt16.max, using: &random)
    if index > 0, Bool.random(using: &random) { region.managedBy = RegionName("a") }
    return region
  }

  /// Unique by its first letter.
  private static func name(_ index: Int, using random: inout SplitMix) -> RegionName {
    var text = String(UnicodeScalar(UInt8(97 + index)))
    while index > 0, Bool.random(using: &random) {
      let scalar = UnicodeScalar(UInt32.random(in: 1...0x1_1000, using: &random))
      guard let scalar, scalar != "/", text.utf8.count + UTF8.width(scalar) <= 15 else { continue }
      text.unicodeScalars.append(scalar)
    }
    return RegionName(text)!
  }
}
