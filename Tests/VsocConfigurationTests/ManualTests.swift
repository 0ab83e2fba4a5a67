// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import VsocConfiguration

/// What the manual pages say of options and layout files is what there is.
@Suite struct ManualTests {
  private static func page(_ name: String) throws -> String {
    // This file is Tests/VsocConfigurationTests/ManualTests.swift.
    let sources = "/" + "\(#filePath)".split(separator: "/").dropLast(3).joined(separator: "/")
    let stream = try unsafe #require(fopen(sources + "/docs/man/" + name, "re"))
    defer { unsafe fclose(stream) }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = unsafe fread(&bytes, 1, bytes.count, stream)
    return String(decoding: bytes[..<count], as: UTF8.self).replacing("\\-", with: "-")
  }

  private static func part(_ page: String, from start: String, to end: String) throws -> Substring {
    let text = try Self.page(page)
    let first = try #require(text.firstRange(of: "\n" + start + "\n"))
    let rest = text[first.upperBound...]
    return rest[..<(try #require(rest.firstRange(of: "\n" + end + "\n"))).lowerBound]
  }

  /// The words in bold: those of requests that begin with `.B`.
  private static func words(_ part: Substring) -> Set<String> {
    Set(
      part.split(separator: "\n").filter { $0.hasPrefix(".B") }.flatMap { line in
        line.split { " \",".contains($0) }.dropFirst().map(String.init)
      })
  }

  @Test func `every option`() throws {
    let page = "vsocfs.8"
    let options = try Self.words(Self.part(page, from: ".SS Mount options", to: ".PP"))
    let useful = MountConfiguration.usefulOptions
    for option in useful { #expect(options.contains(option), "\(option)") }
  }

  @Test func `what is taken without effect is taken`() throws {
    let section = try Self.part("vsocfs.8", from: ".SS Mount options", to: ".SH SIGNALS")
    let end = try #require(section.firstRange(of: "\nTaken and without effect"))
    let rest = section[end.upperBound...]
    let list = rest[..<(try #require(rest.firstRange(of: "\nand whatever begins with"))).lowerBound]
    let options = Self.words(list).subtracting(["fstab", "mount", "(5)", "(8)", "(8):"])
    #expect(options.count > 30)
    for option in options {
      let option = option.hasSuffix("=") ? option + "value" : option
      _ = try MountConfiguration(
        MountRequest(mountpoint: "/mnt/vsoc", options: [option]), uid: 0, gid: 0)
    }
  }

  @Test func `every key of a layout`() throws {
    let documented = try Self.words(
      Self.part("vsocfs.5", from: ".SH THE LAYOUT FILE", to: ".SH EXAMPLES"))
    func known(_ text: String) throws -> [String] {
      let error = try #require(throws: ConfigurationError.self) {
        try Layout.parse(
          text, source: "layout", defaults: RegionDefaults(uid: 0, gid: 0))
      }
      let list = try #require(error.problem.firstRange(of: "(known are "))
      return error.problem[list.upperBound...].dropLast().split(separator: ", ").map(String.init)
    }
    var keys: [String] = []
    for text in [
      "{ other: 0 }", "{ regions: [{ other: 0 }] }",
      #"{ regions: [{ name: "x", nodes_lg2: { other: 0 } }] }"#,
      #"{ regions: [{ name: "x", peer: { other: 0 } }] }"#,
    ] {
      keys += try known(text)
    }
    #expect(keys.count > 12)
    for key in keys { #expect(documented.contains(key), "\(key)") }
  }
}
