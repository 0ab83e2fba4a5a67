// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import Synchronization
package import SystemPackage
package import VsocEngine

/// Files for the areas of managed regions, each with a number that no other gets while the store is
/// in use. What is there when the store is opened is removed, as soon as its contents are back in
/// their regions.
extension Store {
  static let areas = "areas"

  /// Makes an empty file, which is gone when nobody keeps it any more. Whoever keeps it has the
  /// store: the file's number may be another's after that.
  package func makeArea(isBacking: Bool) throws(Errno) -> RegionFile {
    let number = lastArea.wrappingAdd(1, ordering: .relaxed).newValue
    let name = Self.areaFile(number)
    let file = try areas.create(name, isReadOnly: isBacking)
    return RegionFile(file, kind: .stored, isReadOnly: isBacking, number: number) {
      // What stays after a failure is removed at the next start.
      try? self.areas.remove(name)
    }
  }

  static func areaFile(_ number: UInt64) -> String { "\(number)" }

  /// Nil for a file that is none of ours.
  static func areaNumber(ofFile name: String) -> UInt64? {
    guard let number = UInt64(name), number > 0, name == areaFile(number) else { return nil }
    return number
  }
}
