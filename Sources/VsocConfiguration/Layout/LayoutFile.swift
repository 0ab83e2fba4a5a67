// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage
package import VsocEngine

/// Reading a layout from a file.
package enum LayoutFile {
  /// Far more than any layout needs (some 60,000 regions), and little enough to be read by mistake.
  package static let maximumSize = 16 << 20

  package static func read(
    _ path: String, defaults: RegionDefaults
  ) throws(ConfigurationError) -> [RegionConfiguration] {
    let bytes: [UInt8]
    do {
      bytes = try contents(of: FilePath(path))
    } catch {
      throw ConfigurationError(source: path, problem: "cannot be read: \(error)")
    }
    guard bytes.count <= maximumSize else {
      throw ConfigurationError(
        source: path, problem: "is larger than \(ByteSize(UInt64(maximumSize)))")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw ConfigurationError(source: path, problem: "is not UTF-8")
    }
    return try Layout.parse(text, source: path, defaults: defaults)
  }

  /// The file's bytes; of a file that is too large, or without end, one more than the maximum.
  private static func contents(of path: FilePath) throws -> [UInt8] {
    let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
    return try file.closeAfter {
      var bytes: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 64 << 10)
      while bytes.count <= maximumSize {
        let count = try unsafe buffer.withUnsafeMutableBytes { unsafe try file.read(into: $0) }
        guard count > 0 else { break }
        bytes += buffer[..<count]
      }
      return bytes
    }
  }
}
