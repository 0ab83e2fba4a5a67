// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import DaemonLog
internal import Glibc
internal import LinuxSystem
internal import Logging
internal import VsocConfiguration
internal import VsocFileSystem

/// The program from its arguments to its exit status.
enum Program {
  static func run(arguments: [String]) -> Int32 {
    StandardStreams.ensureOpen()
    let parsed: Arguments
    do {
      parsed = try Arguments.parse(separating: arguments)
    } catch {
      return finish(parsing: error)
    }
    do {
      if parsed.check {
        _ = try MountConfiguration(parsed.request, uid: geteuid(), gid: getegid())
      } else if let descriptor = parsed.readyDescriptor {
        try serveInBackground(parsed.request, ready: Descriptor(owning: descriptor))
      } else if parsed.request.isForeground {
        try serveInForeground(parsed.request)
      } else {
        return try startInBackground()
      }
      return EXIT_SUCCESS
    } catch {
      complain("\(error)")
      return EXIT_FAILURE
    }
  }

  // MARK: - The three ways to run

  /// The process that the user starts: leaves the work to another, and everything that can go
  /// wrong as well.
  private static func startInBackground() throws -> Int32 {
    switch try DetachedProcess.run(descriptorOption: "--ready-descriptor") {
    case .ready: return EXIT_SUCCESS
    case .ended(let status):
      if status > 128 { complain("the daemon was ended by signal \(status - 128)") }
      return status == EXIT_SUCCESS ? EXIT_FAILURE : status
    }
  }

  private static func serveInBackground(
    _ request: MountRequest, ready: consuming Descriptor
  ) throws {
    // Started by way of /proc/self/exe, it has that name.
    Thread.nameCurrent("vsocfs")
    let configuration = try configuration(for: request)
    // Until it is ready there is somebody who waits for it and reads what it says.
    let log = DaemonLog(.standardError, level: configuration.logLevel.level)
    var ready: Descriptor? = consume ready
    try serve(configuration, log: log) {
      log.destination = .systemLog
      if let descriptor = ready.take() { DetachedProcess.announceReady(on: descriptor) }
    }
  }

  private static func serveInForeground(_ request: MountRequest) throws {
    let configuration = try configuration(for: request)
    let log = DaemonLog(.foreground, level: configuration.logLevel.level)
    try serve(
      configuration, log: log, ready: { ServiceManager.notify("READY=1") },
      ending: { ServiceManager.notify("STOPPING=1") })
  }

  private static func configuration(for request: MountRequest) throws -> MountConfiguration {
    var configuration = try MountConfiguration(request, uid: geteuid(), gid: getegid())
    configuration.mountpoint = try MountPoint.prepare(
      configuration.mountpoint, fileSystemType: MountConfiguration.fileSystemType)
    return configuration
  }

  // MARK: - Messages

  /// Help and version were asked for; everything else is a mistake.
  private static func finish(parsing error: any Error) -> Int32 {
    let status = Arguments.exitCode(for: error)
    if status.isSuccess {
      print(Arguments.fullMessage(for: error))
    } else {
      let message = Arguments.message(for: error).split(whereSeparator: \.isNewline)
      complain("\(message.joined(separator: " ")) (see vsocfs --help)")
    }
    return status.rawValue
  }

  /// One line on stderr, in one piece.
  private static func complain(_ message: String) {
    StandardStreams.writeError("vsocfs: \(message)\n")
  }
}

extension LogLevel {
  fileprivate var level: Logger.Level {
    switch self {
    case .error: .error
    case .warning: .warning
    case .notice: .notice
    case .info: .info
    case .debug: .debug
    }
  }
}
