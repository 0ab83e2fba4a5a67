// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import SystemPackage

/// What a daemon of root's may do once it has mounted, and why.
///
/// It begins with everything that root may do: mount(2), limits of memory and descriptors, files that
/// only root can open. What follows needs little of that.
struct DaemonRights: Sendable {
  private struct Reason {
    let capability: Capabilities
    let name: String
    let use: String
  }

  private let reasons: [Reason]

  /// - Parameters:
  ///   - servesPages: whether clients' memory comes from requests, also when memory is short.
  ///   - hasManagedRegions: whether callers may ask for permissions by way of a manager; there will be
  ///     no other managed regions than now.
  init(servesPages: Bool, hasManagedRegions: Bool) {
    var reasons = [
      Reason(
        capability: .sysAdmin, name: "CAP_SYS_ADMIN",
        use: "to hand memory to the kernel, bind sockets in the mount and unmount"),
      Reason(
        capability: .dacOverride, name: "CAP_DAC_OVERRIDE",
        use: "to use the regions' files whoever owns them"),
    ]
    if servesPages {
      reasons.append(
        Reason(
          capability: .ipcLock, name: "CAP_IPC_LOCK",
          use: "to keep in place what it takes to serve pages"))
    }
    if hasManagedRegions {
      reasons.append(
        Reason(
          capability: .sysPtrace, name: "CAP_SYS_PTRACE",
          use: "to look at descriptors that callers name in claims"))
    }
    self.reasons = reasons
  }

  private var capabilities: Capabilities { Capabilities(reasons.map(\.capability)) }

  /// Gives up everything else: for this thread, all that it starts, and the guard.
  func restrict() throws(Errno) {
    // Also where the bounding set cannot be narrowed, the guard then gets no more.
    try Capabilities.refuseNewPrivileges()
    try Capabilities.keepOnly(capabilities)
  }

  /// What is left, in a line.
  var description: String {
    let current = Capabilities.current
    let kept = reasons.filter { current.contains($0.capability) }.map { "\($0.name) \($0.use)" }
    return kept.isEmpty ? "no capabilities" : kept.joined(separator: "; ")
  }
}
