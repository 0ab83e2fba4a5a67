// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A version of the kernel, by its first two numbers.
package struct KernelRelease: Comparable, Hashable, Sendable {
  package let major: Int
  package let minor: Int

  package init(_ major: Int, _ minor: Int) {
    self.major = major
    self.minor = minor
  }

  /// Nil for what is no release as uname(2) gives it.
  package init?(_ text: String) {
    let numbers = text.split(separator: ".", omittingEmptySubsequences: false).prefix(2)
      .map { Int($0.prefix { $0.isASCII && $0.isNumber }) }
    guard numbers.count == 2, let major = numbers[0], let minor = numbers[1] else { return nil }
    self.init(major, minor)
  }

  /// The one that runs; the oldest of all if it does not say.
  package static let current: KernelRelease = {
    var names = utsname()
    guard unsafe uname(&names) == 0 else { return KernelRelease(0, 0) }
    let text = unsafe withUnsafeBytes(of: &names.release) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    return KernelRelease(text) ?? KernelRelease(0, 0)
  }()

  package static func < (left: Self, right: Self) -> Bool {
    (left.major, left.minor) < (right.major, right.minor)
  }
}
