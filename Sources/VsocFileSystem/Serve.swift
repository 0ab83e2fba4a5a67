// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import VsocConfiguration

/// Mounts, calls `ready` once the mount can be used, and returns after a clean unmount: by umount(2),
/// SIGTERM, SIGINT or SIGHUP. The calling thread becomes the one that answers interrupts.
///
/// - Throws: an error whose description is one line, with nothing left mounted.
package func serve(_ configuration: MountConfiguration, ready: () -> Void) throws {
  ResourceLimits.raiseDescriptors()
  let signals = try ShutdownSignalDescriptor()
  let server = try Server(configuration)
  do {
    try server.mount(at: configuration.mountpoint)
  } catch {
    server.end()
    throw error
  }
  ready()
  server.run(until: signals.descriptor)
  server.end()
}

/// Why there is no mount, in one line.
struct MountError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
