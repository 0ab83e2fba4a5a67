// SPDX-License-Identifier: Apache-2.0

internal import CVsocABI

/// A header that has outlived the daemon that wrote it.
extension RegionHeader {
  /// What is to stand at offset 0 in the place of `found`; nil where that can stay.
  ///
  /// The size and the manager's index may be others than when it was written. A header that differs
  /// in anything else has been written over by clients, and what they wrote is left to them.
  public func renewed(_ found: [UInt8]) -> [UInt8]? {
    let current = layoutBytes
    guard found.count == current.count, found != current else { return nil }
    var expected = current
    for field in Self.changeable { expected.replaceSubrange(field, with: found[field]) }
    return found == expected ? current : nil
  }

  private static let changeable: [Range<Int>] = {
    let region = MemoryLayout<vsoc_shm_layout_descriptor>.size
    let starts = [
      MemoryLayout<vsoc_shm_layout_descriptor>.offset(of: \.size)!,
      region + MemoryLayout<vsoc_device_region>.offset(of: \.region_end_offset)!,
      region + MemoryLayout<vsoc_device_region>.offset(of: \.managed_by)!,
    ]
    return starts.map { $0..<$0 + MemoryLayout<UInt32>.size }
  }()
}
