// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import VsocEngine

/// An open handle that can have a permission, with all that it holds of the node.
final class OpenArea: Sendable {
  /// The area's file, and what it is mapped by in page-cache mode.
  static let descriptorCost = 2

  let handle: AreaHandle
  private let node: AreaNode
  /// What the kernel maps in place of the node, if it does.
  private let kept: Lock<RegionBacking?>

  init(_ handle: AreaHandle, of node: AreaNode, backing: RegionBacking?) {
    self.handle = handle
    self.node = node
    kept = Lock(backing)
    node.setHandle(handle)
  }

  var backing: RegionBacking? { kept.withLock { $0 } }

  /// Once. The kernel has its own reference to the backing file let go by then.
  func close() {
    kept.withLock { $0 = nil }
    // The node tells the area's size until that is back in its region.
    handle.close()
    node.endOpen()
  }
}
