// SPDX-License-Identifier: Apache-2.0

internal import CLinux
package import SystemPackage

/// Starting threads that nobody joins: each ends with the work that it was given.
package enum Thread {
  private final class Body {
    let name: String
    let run: @Sendable () -> Void

    init(name: String, run: @escaping @Sendable () -> Void) {
      self.name = name
      self.run = run
    }
  }

  /// Names the calling thread; the name of the main one is that of the process for ps and pkill.
  package static func nameCurrent(_ name: String) {
    unsafe vsocfs_thread_name(name)
  }

  /// Runs `body` in a new thread with all signals blocked.
  ///
  /// - Parameters:
  ///   - name: shown by ps and gdb, at most 15 bytes.
  ///   - stackSize: in bytes; 0 is the system's default.
  package static func start(
    name: String, stackSize: Int = 0, _ body: @escaping @Sendable () -> Void
  ) throws(Errno) {
    let argument = unsafe Unmanaged.passRetained(Body(name: name, run: body))
    do throws(Errno) {
      try check {
        unsafe vsocfs_thread_start(
          { argument in
            guard let argument = unsafe argument else { return nil }
            let body = unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
            unsafe vsocfs_thread_name(body.name)
            body.run()
            return nil
          }, argument.toOpaque(), stackSize)
      }
    } catch {
      unsafe argument.release()
      throw error
    }
  }
}
