// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The directory of this build, where the test bundle and the products are.
package enum BuildDirectory {
  package static let path: String = {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let length = unsafe buffer.withUnsafeMutableBytes { bytes in
      unsafe readlink("/proc/self/exe", bytes.baseAddress!, bytes.count)
    }
    let executable = String(decoding: buffer.prefix(max(length, 0)), as: UTF8.self)
    // A helper may run the bundle, which is then named by an argument.
    let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") && $0.hasPrefix("/") }
    let path = executable.hasSuffix(".xctest") ? executable : bundle ?? executable
    return String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
  }()
}
