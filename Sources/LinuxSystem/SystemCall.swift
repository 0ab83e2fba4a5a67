// SPDX-License-Identifier: Apache-2.0

package import SystemPackage

/// The value of a shim that returns a value, or -errno.
///
/// Calls that a signal can interrupt and that are safe to repeat pass `retryOnInterrupt`.
@discardableResult
package func check(
  retryOnInterrupt: Bool = false, _ call: () -> Int32
) throws(Errno) -> Int32 {
  while true {
    let result = call()
    if result >= 0 { return result }
    let error = Errno(rawValue: -result)
    if retryOnInterrupt && error == .interrupted { continue }
    throw error
  }
}
