// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
package import VsocEngine
internal import VsocProtocol

/// Writes the layout of a mount again and again, as its regions change: what each of them says is kept, so that
/// a change of one costs little where there are thousands. Safe to use from any thread; its lock is a leaf.
package final class LayoutWriter: Sendable {
  private struct Part {
    let configuration: RegionConfiguration
    let text: [UInt8]
  }

  private let parts = Lock<[RegionName: Part]>([:])

  package init() {}

  /// The bytes of `Layout.text`.
  package func text(of regions: [RegionConfiguration]) -> [UInt8] {
    parts.withLock { parts in
      if parts.count > 2 * regions.count + 16 { parts.removeAll() }
      var text = Array(Layout.head.utf8)
      for region in regions {
        if let part = parts[region.name], part.configuration == region {
          text += part.text
        } else {
          let part = Part(configuration: region, text: Array(Layout.text(of: region).utf8))
          parts[region.name] = part
          text += part.text
        }
      }
      return text + Layout.tail.utf8
    }
  }
}
