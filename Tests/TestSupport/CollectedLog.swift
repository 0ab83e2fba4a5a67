// SPDX-License-Identifier: Apache-2.0

package import Logging

/// A logger whose lines are kept, as far as they are logged unless more is asked for.
package final class CollectedLog: Sendable {
  package let lines = Monitor([String]())

  package init() {}

  package var logger: Logger { Logger(label: "test") { _ in Handler(lines: lines) } }

  private struct Handler: LogHandler {
    let lines: Monitor<[String]>
    var logLevel = Logger.Level.notice
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    init(lines: Monitor<[String]>) { self.lines = lines }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      lines.withLock { $0.append(event.message.description) }
    }
  }
}
