// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import VsocConfiguration

/// The command line.
struct Arguments: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vsocfs",
    abstract: "Mounts a tree in which every directory is a region of shared memory.",
    discussion: """
      Options of -o, besides those of mount(8): layout=FILE, region=NAME[:SIZE], store=DIR, \
      host_socket=PATH, size=SIZE (the most bytes of all regions), nr_regions=N, region_size=SIZE (of a region \
      made by mkdir), uid=N, gid=N, mode=OCTAL, passthrough=auto|on|off, dev_links, \
      log_level=error|warning|notice|info|debug, fsname=NAME, allow_other, noallow_other.

      SIZE takes plain bytes, or K, M or G. End the daemon with umount(8) or SIGTERM.
      """,
    version: "vsocfs \(productVersion)")

  @Flag(name: .customShort("f"), help: "Stay in the foreground.")
  var isForeground = false

  @Flag(name: .customShort("d"), help: "Log requests; stays in the foreground.")
  var isDebug = false

  @Flag(help: "Check the options and the layout, and mount nothing.")
  var check = false

  @Option(
    name: .customShort("o"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp("Mount options.", valueName: "option,..."),
    completion: .list(MountConfiguration.usefulOptions))
  var options: [String] = []

  @Option(
    help: ArgumentHelp("A JSON5 file that defines regions.", valueName: "file"),
    completion: .file())
  var layout: String?

  @Option(
    name: .customLong("region"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp("A region to begin with; can be repeated.", valueName: "name[:size]"))
  var regions: [String] = []

  @Option(
    help: ArgumentHelp(
      "A directory in which regions outlive the mount; made if there is none.",
      valueName: "dir"),
    completion: .directory)
  var store: String?

  @Option(
    help: ArgumentHelp("A UNIX socket at which host clients connect.", valueName: "path"),
    completion: .file())
  var hostSocket: String?

  /// Set by the process that started this one in the background; see `DetachedProcess`.
  @Option(help: .private)
  var readyDescriptor: Int32?

  @Argument(help: "The directory to mount at.", completion: .directory)
  var mountpoint: String

  /// Reads `-oLIST` as `-o LIST`, which the parser does not where the list holds a `=`.
  static func parse(separating arguments: [String]) throws -> Arguments {
    let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
    let options = arguments[..<end].flatMap { argument in
      argument.hasPrefix("-o") && argument != "-o"
        ? ["-o", String(argument.dropFirst(2))] : [argument]
    }
    return try parse(options + arguments[end...])
  }

  var request: MountRequest {
    MountRequest(
      mountpoint: mountpoint, options: options, layout: layout, regions: regions,
      store: store, hostSocket: hostSocket, isForeground: isForeground || isDebug, isDebug: isDebug)
  }
}
