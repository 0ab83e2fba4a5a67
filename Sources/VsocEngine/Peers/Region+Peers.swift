// SPDX-License-Identifier: Apache-2.0

package import LinuxSystem
internal import Logging
package import SystemPackage
package import VsocProtocol

/// Peers outside the mount (SPEC §9): who they are, and how rings get to them and from them.
extension Region {
  /// A new peer takes part at an end. It is a use of the region until `detach`.
  ///
  /// - Throws: EPERM: the region is managed. ENOENT: it is gone. EMFILE: there are too many. EAGAIN: it could not be rung.
  package func attach(_ kind: PeerKind, at end: End) throws(Errno) -> Peer {
    guard !isManaged else { throw .notPermitted }
    let ringer = try bellWatch.ringer()
    try beginUse()
    do throws(Errno) {
      try seal()
      try ensureBells(ringer)
      return try state.withLock { state throws(Errno) in
        guard let peer = try state.bells?.add(kind, at: end, ringer) else {
          throw .noSuchFileOrDirectory
        }
        return peer
      }
    } catch {
      endUse()
      throw error
    }
  }

  /// The peer is gone, and all who were told of it have been told that.
  package func detach(_ peer: Peer) {
    state.withLock { $0.bells?.remove(peer) }
    endUse()
  }

  /// Those of both ends, in the order in which they came.
  package var peers: [Peer] { state.withLock { $0.bells?.peers ?? [] } }

  /// What rings an end; there is one from the first peer on.
  package func bell(of end: End) -> SharedEvent? { state.withLock { $0.bells?[end] } }

  private func ensureBells(_ ringer: Ringer) throws(Errno) {
    guard state.withLock({ $0.bells == nil }) else { return }
    let new = try BellPair(ringer)
    // Before anybody rings them: what is rung until a bell is heard would be lost.
    try bellWatch.add(new, of: self)
    let isTaken = state.withLock { state in
      guard state.bells == nil else { return false }
      state.bells = Bells(new)
      return true
    }
    if !isTaken { bellWatch.forget(new) }
  }

  /// The bell of an end was rung, once or more often.
  func hearBell(of end: End) {
    do throws(Errno) {
      try updateMemory { state, memory, wakes in
        state.hear(end, memory, &wakes)
      }
    } catch .noSuchFileOrDirectory, .operationNotSupportedByDevice {
      // Nobody is there to hear it.
    } catch {
      log.error("a ring in region \"\(name)\" is not passed on: \(error)")
    }
  }

  /// Lets the bells go.
  func forgetBells() {
    if let bells = state.withLock({ $0.bells.take() }) { bellWatch.forget(bells.pair) }
  }
}
