// SPDX-License-Identifier: Apache-2.0

/// The most bytes that all regions may have together (`size=`).
package enum SizeLimit: Hashable, Sendable {
  /// Half of the machine's memory, as for tmpfs.
  case usual
  case none
  case bytes(UInt64)
}

/// How the memory of regions reaches those who map it (`passthrough=`).
package enum PassthroughMode: String, Hashable, Sendable {
  /// Passthrough where the kernel has it.
  case auto
  /// Passthrough or no mount.
  case on
  /// The page cache of the mount's own files.
  case off
}

/// The least important lines of the log that are wanted (`log_level=`).
package enum LogLevel: String, Hashable, Sendable, CaseIterable {
  case error, warning, notice, info, debug
}

/// What `-o` lists say, as fstab would have it. Where an option is given twice, the last counts.
struct MountOptions: Hashable, Sendable {
  var layout: String?
  var store: String?
  var hostSocket: String?
  /// In the order given, not yet parsed.
  var regions: [String] = []
  var sizeLimit = SizeLimit.usual
  var regionLimit: Int?
  var regionSize: UInt64?
  var uid: UInt32?
  var gid: UInt32?
  var mode: UInt32?
  var passthrough = PassthroughMode.auto
  /// Nil: what is usual for the user who mounts.
  var allowOther: Bool?
  var sourceName: String?
  var hasDeviceLinks = false
  /// Nil: what is usual.
  var logLevel: LogLevel?
  /// Generic mount options other than the ones above, each once and without its opposite.
  private(set) var generic: [String] = []
  /// SELinux's labels, as `name=value`, for the kernel.
  private(set) var labels: [String] = []
  /// Whether options that nobody knows are left out, as mount(8) does with `-s`.
  private let isSloppy: Bool

  /// Takes in comma-separated lists.
  init(lists: [String]) throws(ConfigurationError) {
    let options = lists.flatMap { $0.split(separator: ",") }
    isSloppy = options.contains("sloppy")
    for option in options {
      let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      do throws(ValueProblem) {
        try add(name: name, value: parts.count == 2 ? String(parts[1]) : nil)
      } catch {
        throw ConfigurationError(source: "-o \(name)", problem: error.text)
      }
    }
  }

  private mutating func add(name: String, value: String?) throws(ValueProblem) {
    if Self.isIgnored(name) { return }
    if let reason = Self.impossible[name] { throw ValueProblem(reason) }
    guard !Self.valued.contains(name) else {
      guard let value, !value.isEmpty else { throw ValueProblem("needs a value") }
      return try set(name, to: value)
    }
    let opposite = Self.opposites[name]
    guard opposite != nil || Self.switches.contains(name) else {
      if isSloppy { return }
      throw ValueProblem("unknown option")
    }
    guard value == nil else { throw ValueProblem("takes no value") }
    switch name {
    case "allow_other": allowOther = true
    case "noallow_other": allowOther = false
    case "dev_links": hasDeviceLinks = true
    // The modes of the tree always decide.
    case "default_permissions", "sloppy": break
    default:
      generic.removeAll { $0 == name || $0 == opposite }
      generic.append(name)
    }
  }

  private mutating func set(_ name: String, to value: String) throws(ValueProblem) {
    switch name {
    case "layout":
      guard layout == nil else { throw ValueProblem("there can be only one layout") }
      layout = value
    case "host_socket":
      guard hostSocket == nil else { throw ValueProblem("there can be only one host socket") }
      hostSocket = value
    case "store":
      guard store == nil else { throw ValueProblem("there can be only one store") }
      store = value
    case "region": regions.append(value)
    // As tmpfs does, 0 is no limit.
    case "size":
      let size = try Value.size(value)
      sizeLimit = size == 0 ? .none : .bytes(size)
    case "nr_regions": regionLimit = try Value.count(value)
    case "region_size": regionSize = try Value.regionSize(Value.size(value))
    case "uid": uid = try Value.owner(UInt64(decimalDigits: value[...]), text: quoted(value))
    case "gid": gid = try Value.owner(UInt64(decimalDigits: value[...]), text: quoted(value))
    case "mode": mode = try Value.mode(value)
    case "fsname": sourceName = value
    case "context", "fscontext", "defcontext", "rootcontext":
      labels.removeAll { $0.hasPrefix(name + "=") }
      labels.append(name + "=" + value)
    case "passthrough":
      guard let mode = PassthroughMode(rawValue: value) else {
        throw ValueProblem("\(quoted(value)) is none of auto, on, off")
      }
      passthrough = mode
    case "log_level":
      guard let level = LogLevel(rawValue: value) else {
        let names = LogLevel.allCases.map(\.rawValue).joined(separator: ", ")
        throw ValueProblem("\(quoted(value)) is none of \(names)")
      }
      logLevel = level
    default:
      throw ValueProblem("cannot be chosen: the type is always fuse.vsocfs")
    }
  }

  // MARK: - What libfuse gets

  var isReadOnly: Bool { generic.contains("ro") }

  /// The generic options that libfuse passes to mount(2). It does not know the others, which
  /// change nothing here: the daemon decides what the times of a file are, and the tree has no
  /// symbolic links.
  var genericForLibfuse: [String] {
    generic.filter { !Self.unknownToLibfuse.contains($0) }
  }

  // MARK: - Names

  /// What a user may want to say, for completion: those that take a value with `=`, and without those
  /// that change nothing.
  static var useful: [String] {
    let values = valued.subtracting(["subtype"]).map { $0 + "=" }
    let generic = Set(opposites.keys).union(switches).subtracting(unknownToLibfuse)
      .subtracting(["default_permissions"])
    return (values + generic).sorted()
  }

  private static let valued: Set<String> = [
    "layout", "store", "host_socket", "region", "size", "region_size", "nr_regions", "uid", "gid",
    "mode",
    "passthrough", "log_level", "fsname", "subtype", "context", "fscontext", "defcontext",
    "rootcontext",
  ]

  private static let impossible = [
    "remount": "not possible: unmount, and mount with the new options"
  ]

  private static let switches: Set<String> = [
    "dirsync", "allow_other", "noallow_other", "default_permissions", "dev_links", "sloppy",
  ]

  private static let opposites: [String: String] = {
    let pairs = [
      ("ro", "rw"), ("suid", "nosuid"), ("dev", "nodev"), ("exec", "noexec"), ("sync", "async"),
      ("atime", "noatime"), ("diratime", "nodiratime"), ("relatime", "norelatime"),
      ("strictatime", "nostrictatime"), ("lazytime", "nolazytime"), ("iversion", "noiversion"),
      ("mand", "nomand"), ("symfollow", "nosymfollow"),
    ]
    return Dictionary(uniqueKeysWithValues: pairs + pairs.map { ($1, $0) })
  }()

  private static let unknownToLibfuse: Set<String> = [
    "atime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime",
    "lazytime", "nolazytime", "iversion", "noiversion", "mand", "nomand", "symfollow",
    "nosymfollow",
  ]

  /// Options that mean something to mount(8), fstab and systemd only.
  private static let ignored: Set<String> = [
    "defaults", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner",
    "group", "nogroup", "nofail", "_netdev", "_rnetdev", "comment", "helper", "uhelper", "silent",
    "loud",
  ]

  /// Also with a value, such as the name that mount(8) gives with `user`.
  private static func isIgnored(_ name: String) -> Bool {
    ignored.contains(name) || name.hasPrefix("x-") || name.hasPrefix("X-")
  }
}
