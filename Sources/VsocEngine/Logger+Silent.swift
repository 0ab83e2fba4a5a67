// SPDX-License-Identifier: Apache-2.0

package import Logging

extension Logger {
  /// For those who want to hear of nothing.
  package static let silent = Logger(label: "vsoc") { _ in SwiftLogNoOpLogHandler() }
}
