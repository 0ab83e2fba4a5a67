// SPDX-License-Identifier: Apache-2.0

package import DaemonLog
internal import LinuxSystem
internal import Logging
package import VsocConfiguration

/// Mounts, calls `ready` once the mount can be used and `ending` when its end begins, and returns after
/// a clean unmount: by umount(2), SIGTERM, SIGINT or SIGHUP. The calling thread, which must be the only
/// one, becomes the one that answers interrupts.
///
/// - Throws: an error whose description is one line, with nothing left mounted.
package func serve(
  _ configuration: MountConfiguration, log: DaemonLog, ready: () -> Void, ending: () -> Void = {}
) throws {
  ResourceLimits.raiseDescriptors()
  let signals = try ShutdownSignalDescriptor()
  let server = try Server(configuration, log: log)
  do {
    try server.mount()
  } catch {
    server.end()
    throw error
  }
  ready()
  server.announce()
  let reason = server.run(until: signals.descriptor)
  ending()
  server.end()
  log.logger.notice("\(reason)")
}

/// Why there is no mount, in one line.
struct MountError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
