// SPDX-License-Identifier: Apache-2.0

import Testing

/// Two clients that ring each other in a region of their own, beside others that are hostile.
struct PingPong {
  /// At the guest end.
  let near: Client
  private let far: Client
  private let guest: String
  private let host: String
  /// Of one call.
  let rounds: Int

  init(in region: String, of mount: MountedDaemon, rounds: Int) throws {
    (near, far) = try (mount.client(), mount.client())
    guest = try near.open(mount(region + "/doorbell"))
    host = try far.open(mount(region + "/peer/doorbell"))
    self.rounds = rounds
  }

  func callAsFunction() throws {
    try far.send("pingpong", host, "\(rounds)", "0x2000", "serve")
    let reply = try near("pingpong", guest, "\(rounds)", "0x2000", "start", within: 20_000)
    #expect(reply == "\(rounds)")
    #expect(try far.reply() == "\(rounds)")
  }
}
