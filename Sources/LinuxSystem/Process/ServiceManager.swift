// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The service manager that started this process, if one did (sd_notify(3)).
package enum ServiceManager {
  /// Tells it something such as `READY=1`. Without one, or without its listening, nothing happens.
  package static func notify(_ state: String) {
    guard let socket = unsafe getenv("NOTIFY_SOCKET") else { return }
    _ = Datagram.send(state, to: unsafe String(cString: socket), waits: true)
  }
}
