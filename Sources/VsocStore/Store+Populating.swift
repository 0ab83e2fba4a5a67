// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage
package import VsocConfiguration
package import VsocEngine
internal import VsocProtocol

/// Bringing together what the store has and what the command line asks for.
extension Store {
  /// Makes the regions that are asked for and not there. Those that are there keep what can change
  /// while a mount lasts, as it was changed last: owners, modes and the size. In everything else
  /// they must be what is asked for.
  ///
  /// - Parameters:
  ///   - requested: what layout file and options say.
  ///   - sizeCap: the most bytes that all regions may have together.
  package func populate(
    _ requested: [RegionConfiguration], sizeCap: UInt64?, log: (String) -> Void = { _ in }
  ) throws(ConfigurationError) {
    let present = regions
    let byName = Dictionary(uniqueKeysWithValues: present.map { ($0.name, $0) })
    var missing: [RegionConfiguration] = []
    for region in requested {
      guard let known = byName[region.name] else {
        missing.append(region)
        continue
      }
      try check(region, against: known)
      if region.geometry.size != known.geometry.size {
        log(
          "region \(quoted(region.name.description)) keeps the "
            + "\(ByteSize(UInt64(known.geometry.size))) that it has in the store")
      }
    }
    let total = (present + missing).reduce(0) { $0 + UInt64($1.geometry.size) }
    if let sizeCap, total > sizeCap {
      throw ConfigurationError(
        source: "-o size",
        problem: "\(ByteSize(sizeCap)) is less than the \(ByteSize(total)) of the regions, "
          + "those in the store included")
    }
    guard !missing.isEmpty else { return }
    let headers = RegionHeader.headers(of: present + missing).dropFirst(present.count)
    do throws(Errno) {
      try add(missing, Array(headers))
    } catch {
      throw ConfigurationError(source: files.path, problem: "cannot make the regions: \(error)")
    }
  }

  private func check(
    _ requested: RegionConfiguration, against known: RegionConfiguration
  ) throws(ConfigurationError) {
    func lg2(_ table: (RegionConfiguration) -> UInt32) -> (String, String) {
      ("\(table(known))", "\(table(requested))")
    }
    func manager(_ region: RegionConfiguration) -> String {
      region.managedBy.map { quoted($0.description) } ?? "null"
    }
    let values: [(key: String, (known: String, requested: String))] = [
      ("nodes_lg2.guest_to_host", lg2(\.geometry.guestToHost.nodesLg2)),
      ("nodes_lg2.host_to_guest", lg2(\.geometry.hostToGuest.nodesLg2)),
      ("current_version", ("\(known.currentVersion)", "\(requested.currentVersion)")),
      (
        "min_compatible_version",
        ("\(known.minCompatibleVersion)", "\(requested.minCompatibleVersion)")
      ),
      ("managed_by", (manager(known), manager(requested))),
    ]
    for (key, value) in values where value.known != value.requested {
      throw ConfigurationError(
        source: directory.path(of: StoreContents.layout),
        region: quoted(known.name.description), key: key,
        problem: "is \(value.known) in the store, but \(value.requested) is asked for")
    }
  }
}
