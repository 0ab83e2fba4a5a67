// SPDX-License-Identifier: Apache-2.0

package import VsocEngine
internal import VsocProtocol

/// What the command line asks for, as it was given.
package struct MountRequest: Hashable, Sendable {
  package var mountpoint: String
  /// The lists of `-o`.
  package var options: [String]
  package var layout: String?
  /// The values of `--region`.
  package var regions: [String]
  package var store: String?
  package var hostSocket: String?
  package var isForeground: Bool
  package var isDebug: Bool

  package init(
    mountpoint: String, options: [String] = [], layout: String? = nil, regions: [String] = [],
    store: String? = nil, hostSocket: String? = nil, isForeground: Bool = false,
    isDebug: Bool = false
  ) {
    self.mountpoint = mountpoint
    self.options = options
    self.layout = layout
    self.regions = regions
    self.store = store
    self.hostSocket = hostSocket
    self.isForeground = isForeground
    self.isDebug = isDebug
  }
}

/// Everything that a mount needs to know, checked.
package struct MountConfiguration: Hashable, Sendable {
  /// The type in /proc/mounts, and the part of it after the dot.
  package static let fileSystemType = "fuse.\(subtype)"
  private static let subtype = "vsocfs"

  /// The names of mount options, those with a value with `=`.
  package static var usefulOptions: [String] { MountOptions.useful }

  package var mountpoint: String
  /// In the order of their indices, which begin at 1; those of a store come before them.
  package var regions: [RegionConfiguration]
  /// The directory in which the regions outlive the daemon, as it was named: to be opened before
  /// the working directory changes.
  package var store: String?
  /// Where host clients connect, as it was named.
  package var hostSocket: String?
  /// Owner and mode of the mount's root directory.
  package var rootUID: UInt32
  package var rootGID: UInt32
  package var rootMode: UInt32
  package var sizeLimit: SizeLimit
  /// The most regions that there may be; nil: what is usual.
  package var regionLimit: Int?
  /// Bytes of a region made by mkdir.
  package var defaultRegionSize: UInt64
  package var passthrough: PassthroughMode
  package var allowOther: Bool
  package var isReadOnly: Bool
  /// For libfuse's `-o`, each escaped as libfuse wants it.
  package var libfuseOptions: [String]
  /// Whether each region's `data` has a symbolic link in /dev.
  package var hasDeviceLinks: Bool
  package var logLevel: LogLevel
  package var isForeground: Bool
  package var isDebug: Bool

  /// Reads the layout file and checks everything that is asked for.
  ///
  /// - Parameters:
  ///   - uid: the user who mounts, who owns what has no other owner.
  ///   - gid: that user's group.
  package init(
    _ request: MountRequest, uid: UInt32, gid: UInt32
  ) throws(ConfigurationError) {
    let options = try MountOptions(lists: request.options)
    guard request.layout == nil || options.layout == nil else {
      throw ConfigurationError(source: "--layout", problem: "there can be only one layout")
    }
    guard request.store == nil || options.store == nil else {
      throw ConfigurationError(source: "--store", problem: "there can be only one store")
    }
    guard request.hostSocket == nil || options.hostSocket == nil else {
      throw ConfigurationError(
        source: "--host-socket", problem: "there can be only one host socket")
    }
    for (option, value) in [("--store", request.store), ("--host-socket", request.hostSocket)]
    where value == "" {
      throw ConfigurationError(source: option, problem: "needs a value")
    }
    let defaultMode: UInt32 = 0o660
    let defaults = RegionDefaults(
      uid: options.uid ?? uid, gid: options.gid ?? gid, mode: options.mode ?? defaultMode,
      size: options.regionSize ?? 1 << 20)

    regions = []
    if let layout = request.layout ?? options.layout {
      regions = try LayoutFile.read(layout, defaults: defaults)
    }
    let arguments =
      options.regions.map { ("-o region", $0) } + request.regions.map { ("--region", $0) }
    var names = Set(regions.map(\.name))
    for (source, argument) in arguments {
      let region = try RegionConfiguration(
        argument: argument, source: source, defaults: defaults)
      guard names.insert(region.name).inserted else {
        throw ConfigurationError(
          source: "\(source) \(quoted(argument))",
          problem: "there is a region \(quoted(region.name.description)) already")
      }
      regions.append(region)
    }

    sizeLimit = options.sizeLimit
    let total = regions.reduce(0) { $0 + UInt64($1.geometry.size) }
    if case .bytes(let sizeCap) = sizeLimit, total > sizeCap {
      throw ConfigurationError(
        source: "-o size",
        problem: "\(ByteSize(sizeCap)) is less than the \(ByteSize(total)) of the regions")
    }

    regionLimit = options.regionLimit
    if let regionLimit, regions.count > regionLimit {
      throw ConfigurationError(
        source: "-o nr_regions",
        problem: "\(regionLimit) is less than the \(regions.count) regions that there are to be")
    }
    store = request.store ?? options.store
    hostSocket = request.hostSocket ?? options.hostSocket
    mountpoint = request.mountpoint
    rootUID = defaults.uid
    rootGID = defaults.gid
    rootMode = options.mode.map { $0 | ($0 & 0o444) >> 2 } ?? 0o755
    defaultRegionSize = defaults.size
    passthrough = options.passthrough
    allowOther = options.allowOther ?? (uid == 0)
    isReadOnly = options.isReadOnly
    libfuseOptions = [
      "fsname=\(Self.escapedForLibfuse(options.sourceName ?? "vsocfs"))",
      "subtype=\(Self.subtype)", "default_permissions",
    ]
    if allowOther { libfuseOptions.append("allow_other") }
    libfuseOptions += options.genericForLibfuse
    libfuseOptions += options.labels.map(Self.escapedForLibfuse)
    hasDeviceLinks = options.hasDeviceLinks
    logLevel = options.logLevel ?? (request.isDebug ? .debug : .notice)
    isForeground = request.isForeground
    isDebug = request.isDebug
  }

  /// libfuse takes a backslash for an escape. (A comma cannot be in a value.)
  private static func escapedForLibfuse(_ text: String) -> String {
    text.split(separator: "\\", omittingEmptySubsequences: false).joined(separator: "\\\\")
  }
}
