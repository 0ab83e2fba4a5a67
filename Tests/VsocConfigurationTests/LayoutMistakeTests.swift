// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing
import VsocEngine
import VsocProtocol

@testable import VsocConfiguration

private let defaults = RegionDefaults(uid: 7, gid: 8)

@Suite struct LayoutMistakeTests {
  @Test(
    "mistakes in the members of a region",
    arguments: [
      // Unknown keys.
      (
        "sise: 1",
        "sise: unknown key (known are name, size, managed_by, nodes_lg2, "
          + "current_version, min_compatible_version, uid, gid, mode, peer)"
      ),
      (
        "Size: 1",
        "Size: unknown key (known are name, size, managed_by, nodes_lg2, "
          + "current_version, min_compatible_version, uid, gid, mode, peer)"
      ),
      ("peer: {size: 1}", "peer.size: unknown key (known are uid, gid, mode)"),
      (
        "nodes_lg2: {guest: 1}",
        "nodes_lg2.guest: unknown key (known are guest_to_host, host_to_guest)"
      ),
      // Sizes.
      ("size: 65537", "size: 65537 bytes are not whole pages (of 4096 bytes)"),
      ("size: '1'", "size: 1 bytes are not whole pages (of 4096 bytes)"),
      ("size: 0", "size: 0 bytes have no room for the signal tables and a page of data"),
      ("size: '8K'", "size: 8192 bytes have no room for the signal tables and a page of data"),
      (
        "size: '4G'",
        "size: 4294967296 bytes are more than the 4294963200 that a region can have"
      ),
      (
        "size: 18446744073709547520",
        "size: 18446744073709547520 bytes are more than the 4294963200 that a region can have"
      ),
      (
        "size: 18446744073709551616",
        "size: 18446744073709551616 is not a whole number from 0 to 18446744073709551615"
      ),
      (
        "size: '18446744073709551616'",
        #"size: "18446744073709551616" is not a size (bytes, or a number with K, M or G)"#
      ),
      ("size: '1X'", #"size: "1X" is not a size (bytes, or a number with K, M or G)"#),
      ("size: ''", #"size: "" is not a size (bytes, or a number with K, M or G)"#),
      ("size: '-4K'", #"size: "-4K" is not a size (bytes, or a number with K, M or G)"#),
      ("size: -4096", "size: -4096 is not a whole number from 0 to 18446744073709551615"),
      ("size: 4096.5", "size: 4096.5 is not a whole number from 0 to 18446744073709551615"),
      ("size: NaN", "size: NaN is not a whole number from 0 to 18446744073709551615"),
      ("size: 1e400", "size: 1e400 is not a whole number from 0 to 18446744073709551615"),
      ("size: null", #"size: must be a number or a string such as "64K", not null"#),
      ("size: [1]", #"size: must be a number or a string such as "64K", not an array"#),
      // Tables.
      ("nodes_lg2: 30", "nodes_lg2: 30 is not a whole number from 0 to 29"),
      ("nodes_lg2: -1", "nodes_lg2: -1 is not a whole number from 0 to 29"),
      ("nodes_lg2: 4294967296", "nodes_lg2: 4294967296 is not a whole number from 0 to 29"),
      (
        "nodes_lg2: {guest_to_host: 64}",
        "nodes_lg2.guest_to_host: 64 is not a whole number from 0 to 29"
      ),
      (
        "nodes_lg2: {host_to_guest: '6'}",
        "nodes_lg2.host_to_guest: must be a number, not a string"
      ),
      ("nodes_lg2: '6'", "nodes_lg2: must be a number or an object, not a string"),
      (
        "nodes_lg2: 20",
        "nodes_lg2: 1048576 bytes have no room for the signal tables and a page of data"
      ),
      (
        "nodes_lg2: 29, size: 4294963200",
        "nodes_lg2: 4294963200 bytes have no room for the signal tables and a page of data"
      ),
      (
        "nodes_lg2: {guest_to_host: 10}, size: '12K'",
        "nodes_lg2: 12288 bytes have no room for the signal tables and a page of data"
      ),
      // Versions.
      ("current_version: 65536", "current_version: 65536 is not a whole number from 0 to 65535"),
      ("current_version: true", "current_version: must be a number, not a boolean"),
      (
        "min_compatible_version: -1",
        "min_compatible_version: -1 is not a whole number from 0 to 65535"
      ),
      // Owners and modes.
      ("uid: 4294967295", "uid: 4294967295 is not a number from 0 to 4294967294"),
      ("gid: 4294967296", "gid: 4294967296 is not a number from 0 to 4294967294"),
      ("uid: -1", "uid: -1 is not a number from 0 to 4294967294"),
      ("uid: 'root'", "uid: must be a number, not a string"),
      ("peer: {gid: 1.5}", "peer.gid: 1.5 is not a number from 0 to 4294967294"),
      ("mode: 660", #"mode: must be a string such as "0660", not a number"#),
      ("mode: '0770'", #"mode: "0770" has more than read and write bits (at most 0666)"#),
      ("mode: '4660'", #"mode: "4660" has more than read and write bits (at most 0666)"#),
      ("mode: '0o660'", #"mode: "0o660" is not an octal mode such as "0660""#),
      ("mode: '+660'", #"mode: "+660" is not an octal mode such as "0660""#),
      ("mode: '668'", #"mode: "668" is not an octal mode such as "0660""#),
      ("mode: ''", #"mode: "" is not an octal mode such as "0660""#),
      (
        "mode: '77777777777777777777777'",
        #"mode: "77777777777777777777777" is not an octal mode such as "0660""#
      ),
      ("mode: 'rw'", #"mode: "rw" is not an octal mode such as "0660""#),
      ("peer: {mode: '1'}", #"peer.mode: "1" has more than read and write bits (at most 0666)"#),
      ("peer: []", "peer: must be an object, not an array"),
      ("peer: null", "peer: must be an object, not null"),
      // Managers.
      ("managed_by: 'y'", #"managed_by: there is no region "y""#),
      ("managed_by: 'x'", "managed_by: a region cannot manage itself"),
      ("managed_by: 1", "managed_by: must be a string, not a number"),
      (
        "managed_by: ''",
        #"managed_by: "" is not 1 to 15 bytes without '/' that do not begin with '.'"#
      ),
    ])
  func member(members: String, message: String) {
    expect(
      "{regions: [{name: 'ok'}, {name: 'x', \(members)}]}", fails: #"F: region "x": "# + message)
  }

  @Test(
    "mistakes in the document",
    arguments: [
      ("{regions: [{name: 'a'}\n {}]}", #"F:2:2: "{" where ',' or ']' is expected"#),
      ("{regions: [{name: 'a', name: 'b'}]}", #"F:1:24: the key "name" stands here twice"#),
      ("", "F:1:1: the text ends where a value is expected"),
      ("[]", "F: must be an object, not an array"),
      ("1e400", "F: must be an object, not a number"),
      ("{}", "F: regions: missing"),
      ("{regions: {}}", "F: regions: must be an array of regions, not an object"),
      ("{regions: [], region: []}", "F: region: unknown key (known are regions)"),
      ("{regions: [], '': 1}", "F: : unknown key (known are regions)"),
      ("{regions: [], 'a\\n': 1}", "F: a\\u000a: unknown key (known are regions)"),
      ("{regions: ['a']}", "F: region 1 of the layout: must be an object, not a string"),
      ("{regions: [{name: 'a'}, {}]}", "F: region 2 of the layout: name: missing"),
      ("{regions: [{name: 1}]}", "F: region 1 of the layout: name: must be a string, not a number"),
      (
        "{regions: [{name: 'a'}, {name: 'b'}, {name: 'a'}]}",
        #"F: region 3 of the layout: name: "a" is the name of an earlier region"#
      ),
      (String(repeating: "[", count: 1 << 20), "F:1:33: nested too deeply"),
    ])
  func document(text: String, message: String) {
    expect(text, fails: message)
  }

  @Test(
    "bad names",
    arguments: [
      ("", #""""#), (".", #"".""#), ("..", #""..""#), (".a", #"".a""#), ("a/b", #""a/b""#),
      ("sixteen bytes !!", #""sixteen bytes !!""#), ("日本語日本語", #""日本語日本語""#),
      (#"a\0b"#, #""a\u0000b""#),
    ])
  func name(name: String, shown: String) {
    expect(
      "{regions: [{name: '\(name)'}]}",
      fails: "F: region 1 of the layout: name: \(shown) is not 1 to 15 bytes without '/' "
        + "that do not begin with '.'")
  }

  @Test(
    "managers in a circle",
    arguments: [
      (["a": "b", "b": "a"], #"region "b": managed_by: circular: "a""#),
      (["a": "b", "b": "c", "c": "b"], #"region "c": managed_by: circular: "b""#),
      (["a": "b", "b": "c", "c": "d", "d": "a"], #"region "d": managed_by: circular: "a""#),
    ] as [([String: String], String)])
  func circle(managers: [String: String], message: String) {
    let regions = managers.keys.sorted().map { "{name: '\($0)', managed_by: '\(managers[$0]!)'}" }
    let all = (regions + ["{name: 'd'}"]).prefix(4).joined(separator: ", ")
    expect(
      "{regions: [\(all)]}", fails: "F: \(message) is itself managed by way of this region")
  }

  @Test func `a long chain of managers is no circle`() throws {
    let regions = (0..<5000).map { "{name: '\($0)', managed_by: '\($0 + 1)'}" }
    let text = "{regions: [\(regions.joined(separator: ",")), {name: '5000'}]}"
    let parsed = try Layout.parse(text, source: "F", defaults: defaults)
    #expect(parsed[0].managedBy == parsed[1].name)
  }

  @Test func `a default that does not fit`() {
    expect(
      "{regions: [{name: 'x'}]}", defaults: RegionDefaults(uid: 0, gid: 0, size: 8192),
      fails: #"F: region "x": size: 8192 bytes have no room for the signal tables and a page of "#
        + "data")
  }

  private func expect(
    _ text: String, defaults: RegionDefaults = defaults, fails message: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: ConfigurationError.self, sourceLocation: sourceLocation) {
      try Layout.parse(text, source: "F", defaults: defaults)
    }
    #expect(error?.description == message, sourceLocation: sourceLocation)
    #expect(error?.description.contains("\n") == false, sourceLocation: sourceLocation)
  }
}

@Suite struct LayoutFileTests {
  @Test func `a layout from a file`() throws {
    let regions = try withFile(Array("// Käse\n{regions: [{name: 'a'}]}".utf8)) { path in
      try LayoutFile.read(path, defaults: defaults)
    }
    #expect(regions.map(\.name.description) == ["a"])
  }

  @Test func `as many regions as fit`() throws {
    let regions = try Layout.parse(
      "{regions: [\((0..<20_000).map { "{name: '\($0)'}" }.joined(separator: ","))]}",
      source: "F", defaults: defaults)
    let read = try withFile(Array(Layout.text(of: regions).utf8)) { path in
      try LayoutFile.read(path, defaults: defaults)
    }
    #expect(read == regions)
  }

  @Test(
    "files that are none",
    arguments: [
      ("/nonexistent/layout", "/nonexistent/layout: cannot be read: No such file or directory"),
      ("/", "/: cannot be read: Is a directory"),
      ("/dev/zero", "/dev/zero: is larger than 16M"),
      ("/dev/null", "/dev/null:1:1: the text ends where a value is expected"),
      ("a\nb", "a\\u000ab: cannot be read: No such file or directory"),
    ])
  func unreadable(path: String, message: String) {
    let error = #expect(throws: ConfigurationError.self) {
      try LayoutFile.read(path, defaults: defaults)
    }
    #expect(error?.description == message)
  }

  @Test(arguments: [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0x22, 0xe2, 0x82, 0x22]])
  func `bytes that are not UTF-8`(bytes: [UInt8]) throws {
    try withFile(bytes) { path in
      let error = #expect(throws: ConfigurationError.self) {
        try LayoutFile.read(path, defaults: defaults)
      }
      #expect(error?.description == "\(path): is not UTF-8")
    }
  }

  private func withFile<Result>(
    _ bytes: [UInt8], _ body: (String) throws -> Result
  ) throws -> Result {
    var template = Array("/tmp/vsocfs-layout-XXXXXX".utf8CString)
    let file = unsafe mkstemp(&template)
    try #require(file >= 0)
    let path = String(
      decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
      _ = unsafe unlink(path)
      close(file)
    }
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes { unsafe write(file, $0.baseAddress, $0.count) }
      try #require(count > 0)
      rest = rest.dropFirst(count)
    }
    return try body(path)
  }
}
