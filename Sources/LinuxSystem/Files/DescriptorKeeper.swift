// SPDX-License-Identifier: Apache-2.0

/// Keeps copies of descriptors, for when this process has come to its end.
package protocol DescriptorKeeper: AnyObject, Sendable {
  /// Keeps a copy, until `drop`. Does not wait.
  func keep(_ descriptor: Int32)
  /// To be called before the descriptor is closed.
  func drop(_ descriptor: Int32)
}
