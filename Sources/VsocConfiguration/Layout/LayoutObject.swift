// SPDX-License-Identifier: Apache-2.0

internal import VsocEngine
internal import VsocProtocol

/// An object of a layout file and where it stands, for messages.
struct LayoutObject {
  private let source: String
  var region: String?
  /// The key that holds this object, with a dot; empty for a region and the document.
  private let prefix: String
  private let members: [JSON5Value.Member]

  init(
    _ value: JSON5Value, source: String, region: String? = nil, key: String? = nil
  ) throws(ConfigurationError) {
    guard case .object(let members) = value else {
      throw ConfigurationError(
        source: source, region: region, key: key,
        problem: ValueProblem(expected: "an object", found: value).text)
    }
    self.source = source
    self.region = region
    self.members = members
    prefix = key.map { $0 + "." } ?? ""
  }

  /// Refuses every key but these.
  func allow(_ keys: [String]) throws(ConfigurationError) {
    for member in members where !keys.contains(member.key) {
      throw error(at: member.key, "unknown key (known are \(keys.joined(separator: ", ")))")
    }
  }

  subscript(key: String) -> JSON5Value? {
    members.first { $0.key == key }?.value
  }

  /// The value of a key, read by `body`; nil where there is none.
  func optional<Result>(
    _ key: String, _ body: (JSON5Value) throws(ValueProblem) -> Result
  ) throws(ConfigurationError) -> Result? {
    guard let value = self[key] else { return nil }
    do throws(ValueProblem) {
      return try body(value)
    } catch {
      throw self.error(at: key, error.text)
    }
  }

  /// The object with these keys that a key holds; nil where there is none.
  func object(_ key: String, keys: [String]) throws(ConfigurationError) -> LayoutObject? {
    guard let value = self[key] else { return nil }
    let object = try LayoutObject(value, source: source, region: region, key: prefix + key)
    try object.allow(keys)
    return object
  }

  func error(at key: String, _ problem: String) -> ConfigurationError {
    ConfigurationError(source: source, region: region, key: prefix + key, problem: problem)
  }
}

extension LayoutObject {
  /// `uid`, `gid` and `mode`.
  func access(defaults: EndAccess) throws(ConfigurationError) -> EndAccess {
    func owner(_ value: JSON5Value) throws(ValueProblem) -> UInt32 {
      guard case .number(let text, let natural) = value else {
        throw ValueProblem(expected: "a number", found: value)
      }
      return try Value.owner(natural, text: text)
    }
    return EndAccess(
      uid: try optional("uid", owner) ?? defaults.uid,
      gid: try optional("gid", owner) ?? defaults.gid,
      mode: try optional("mode") { value throws(ValueProblem) in
        guard case .string(let text) = value else {
          throw ValueProblem(expected: "a string such as \"0660\"", found: value)
        }
        return try Value.mode(text)
      } ?? defaults.mode)
  }

  /// A table's size.
  func nodesLg2(_ key: String) throws(ConfigurationError) -> UInt32? {
    try optional(key) { value throws(ValueProblem) in
      try UInt32(value.natural(upTo: UInt64(RegionGeometry.maximumNodesLg2)))
    }
  }

  func version(_ key: String) throws(ConfigurationError) -> UInt16 {
    try optional(key) { value throws(ValueProblem) in
      try UInt16(value.natural(upTo: UInt64(UInt16.max)))
    } ?? 0
  }
}

extension RegionGeometry {
  /// Larger tables fit into no region.
  fileprivate static let maximumNodesLg2: UInt32 = 29
}

extension RegionConfiguration {
  private static let keys = [
    "name", "size", "managed_by", "nodes_lg2", "current_version", "min_compatible_version", "uid",
    "gid", "mode", "peer",
  ]

  /// One element of a layout's `regions`.
  ///
  /// - Parameter place: names the region in messages until its name is known.
  init(
    _ value: JSON5Value, source: String, place: String, defaults: RegionDefaults
  ) throws(ConfigurationError) {
    var region = try LayoutObject(value, source: source, region: place)
    let knownName = try region.optional("name", RegionName.init(layoutValue:))
    if let knownName { region.region = quoted(knownName.description) }
    try region.allow(Self.keys)
    guard let name = knownName else { throw region.error(at: "name", "missing") }

    let size = try region.optional("size") { value throws(ValueProblem) in
      switch value {
      case .string(let text): try Value.regionSize(Value.size(text))
      case .number: try Value.regionSize(value.natural(upTo: .max))
      default: throw ValueProblem(expected: "a number or a string such as \"64K\"", found: value)
      }
    }
    let guest = try region.access(defaults: defaults.access)
    let host = try region.object("peer", keys: ["uid", "gid", "mode"])?.access(defaults: guest)
    self.init(
      name: name,
      geometry: try Self.geometry(region, size: size ?? defaults.size),
      guest: guest, host: host ?? guest)
    currentVersion = try region.version("current_version")
    minCompatibleVersion = try region.version("min_compatible_version")
    managedBy =
      try region.optional("managed_by") { value throws(ValueProblem) in
        value == .null ? nil : try RegionName(layoutValue: value)
      } ?? nil
  }

  private static func geometry(
    _ region: LayoutObject, size: UInt64
  ) throws(ConfigurationError) -> RegionGeometry {
    let guestToHost: UInt32?
    let hostToGuest: UInt32?
    switch region["nodes_lg2"] {
    case nil, .number:
      guestToHost = try region.nodesLg2("nodes_lg2")
      hostToGuest = guestToHost
    case .object:
      let nodes = try region.object("nodes_lg2", keys: ["guest_to_host", "host_to_guest"])
      guestToHost = try nodes?.nodesLg2("guest_to_host")
      hostToGuest = try nodes?.nodesLg2("host_to_guest")
    case let value?:
      throw region.error(
        at: "nodes_lg2", ValueProblem(expected: "a number or an object", found: value).text)
    }
    do throws(GeometryError) {
      return try RegionGeometry(
        size: size, guestToHostNodesLg2: guestToHost ?? RegionGeometry.defaultNodesLg2,
        hostToGuestNodesLg2: hostToGuest ?? RegionGeometry.defaultNodesLg2)
    } catch {
      // The size alone was found good: it is the tables that ask for too much.
      let isTables = guestToHost != nil || hostToGuest != nil
      throw region.error(
        at: isTables ? "nodes_lg2" : "size", ValueProblem(error, size: size).text)
    }
  }
}

extension RegionName {
  fileprivate init(layoutValue value: JSON5Value) throws(ValueProblem) {
    guard case .string(let text) = value else {
      throw ValueProblem(expected: "a string", found: value)
    }
    try self.init(checking: text)
  }

  init(checking text: String) throws(ValueProblem) {
    guard let name = RegionName(text) else {
      throw ValueProblem(
        "\(quoted(text)) is not 1 to \(RegionName.maximumLength) bytes without '/' that do not "
          + "begin with '.'")
    }
    self = name
  }
}

extension JSON5Value {
  fileprivate func natural(upTo maximum: UInt64) throws(ValueProblem) -> UInt64 {
    guard case .number(let text, let natural) = self else {
      throw ValueProblem(expected: "a number", found: self)
    }
    guard let natural, natural <= maximum else {
      throw ValueProblem("\(text) is not a whole number from 0 to \(maximum)")
    }
    return natural
  }
}

extension ValueProblem {
  init(expected: String, found: JSON5Value) {
    self.init("must be \(expected), not \(found.kind)")
  }
}
