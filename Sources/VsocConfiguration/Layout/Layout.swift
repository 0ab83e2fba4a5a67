// SPDX-License-Identifier: Apache-2.0

package import VsocEngine
internal import VsocProtocol

/// The text that defines the regions of a mount: JSON5, read from `--layout FILE` and shown in
/// `.vsocfs/layout` (SPEC §2).
package enum Layout {
  /// Reads a layout, all of it checked.
  ///
  /// - Parameters:
  ///   - source: names the file in messages.
  ///   - defaults: for what a region does not say.
  /// - Returns: the regions in the order of their indices.
  package static func parse(
    _ text: String, source: String, defaults: RegionDefaults
  ) throws(ConfigurationError) -> [RegionConfiguration] {
    let document: JSON5Value
    do throws(JSON5Error) {
      document = try JSON5Value(parsing: text)
    } catch {
      throw ConfigurationError(
        source: "\(source):\(error.line):\(error.column)", problem: error.problem)
    }
    let layout = try LayoutObject(document, source: source)
    try layout.allow(["regions"])
    let entries = try layout.optional("regions") { value throws(ValueProblem) in
      guard case .array(let entries) = value else {
        throw ValueProblem(expected: "an array of regions", found: value)
      }
      return entries
    }
    guard let entries else { throw layout.error(at: "regions", "missing") }
    var regions: [RegionConfiguration] = []
    var names: Set<RegionName> = []
    for (index, entry) in entries.enumerated() {
      let place = "\(index + 1) of the layout"
      let region = try RegionConfiguration(
        entry, source: source, place: place, defaults: defaults)
      guard names.insert(region.name).inserted else {
        throw ConfigurationError(
          source: source, region: place, key: "name",
          problem: "\(quoted(region.name.description)) is the name of an earlier region")
      }
      regions.append(region)
    }
    try checkManagers(of: regions, source: source)
    return regions
  }

  /// Every `managed_by` names a region, and no region is managed by way of itself.
  private static func checkManagers(
    of regions: [RegionConfiguration], source: String
  ) throws(ConfigurationError) {
    let managers = Dictionary(uniqueKeysWithValues: regions.map { ($0.name, $0.managedBy) })
    // Regions whose chain of managers is known to end, so that each is walked once.
    var checked: Set<RegionName> = []
    for region in regions {
      var chain: [RegionName] = []
      var members: Set<RegionName> = []
      var next: RegionName? = region.name
      while let name = next, !checked.contains(name) {
        chain.append(name)
        members.insert(name)
        guard case let manager?? = managers[name] else { break }
        let problem: String? =
          if managers[manager] == nil {
            "there is no region \(quoted(manager.description))"
          } else if manager == name {
            "a region cannot manage itself"
          } else if members.contains(manager) {
            "circular: \(quoted(manager.description)) is itself managed by way of this region"
          } else {
            nil
          }
        if let problem {
          throw ConfigurationError(
            source: source, region: quoted(name.description), key: "managed_by",
            problem: problem)
        }
        next = manager
      }
      checked.formUnion(chain)
    }
  }

  /// The layout of `regions`, in the order of their indices, with every key of every region:
  /// nothing in it depends on the defaults of whoever reads it.
  package static func text(of regions: some Sequence<RegionConfiguration>) -> String {
    head + regions.map { text(of: $0) }.joined() + tail
  }

  static let head = "{\n  regions: [\n"
  static let tail = "  ],\n}\n"

  /// What the layout says of one region.
  static func text(of region: RegionConfiguration) -> String {
    let geometry = region.geometry
    let manager = region.managedBy.map { quoted($0.description) } ?? "null"
    return """
          {
            name: \(quoted(region.name.description)), \
      size: "\(ByteSize(UInt64(geometry.size)))", managed_by: \(manager),
            nodes_lg2: { guest_to_host: \(geometry.guestToHost.nodesLg2), \
      host_to_guest: \(geometry.hostToGuest.nodesLg2) },
            current_version: \(region.currentVersion), \
      min_compatible_version: \(region.minCompatibleVersion),
            \(members(of: region.guest)),
            peer: { \(members(of: region.host)) },
          },

      """
  }

  private static func members(of access: EndAccess) -> String {
    let digits = String(access.mode, radix: 8)
    let mode = String(repeating: "0", count: max(4 - digits.count, 0)) + digits
    return "uid: \(access.uid), gid: \(access.gid), mode: \"\(mode)\""
  }
}
