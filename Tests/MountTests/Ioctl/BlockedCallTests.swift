// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

extension MountTests {
  /// Everything that can end a blocked call: what it waits for, a signal, death, the unmount.
  @Suite struct BlockedCalls {
    /// A call, and the ABI of the program that makes it.
    struct Case: CustomTestStringConvertible {
      let call: BlockedCall
      let abi: Client.ABI

      var testDescription: String { "\(call) (\(abi))" }

      static let all =
        BlockedCall.allCases.map { Case(call: $0, abi: .native) }
        + BlockedCall.ioctls.map { Case(call: $0, abi: .i386) }
    }

    @Test(arguments: Case.all)
    func `ends with what it waits for`(_ it: Case) throws {
      try withLayout(BlockedCall.layout) { mount in
        let client = try mount.client(it.abi)
        let prepared = try it.call.prepare(client, mount)
        try prepared.block(client)
        try it.call.end(mount)
        let reply = try client.reply()
        #expect(it.call.isSuccess(reply), "\(reply)")
      }
    }

    @Test(arguments: Case.all)
    func `ends with EINTR on a signal, and loses nothing`(_ it: Case) throws {
      try withLayout(BlockedCall.layout) { mount in
        let client = try mount.client(it.abi)
        #expect(try client("catch-usr1") == "0")
        let prepared = try it.call.prepare(client, mount)
        for _ in 0..<3 {
          try prepared.block(client)
          client.signal(SIGUSR1)
          let reply = try client.reply()
          #expect(reply.split(separator: " ").first == "EINTR", "\(reply)")
        }
        try it.call.end(mount)
        let reply = try prepared.finish(client)
        #expect(it.call.isSuccess(reply), "\(reply)")
      }
    }

    @Test(arguments: Case.all)
    func `lets its process be killed`(_ it: Case) throws {
      try withLayout(BlockedCall.layout) { mount in
        let victim = try mount.client(it.abi)
        try it.call.prepare(victim, mount).block(victim)
        #expect(victim.kill())
        // Its handle goes with it.
        let client = try mount.client()
        try eventually("rmdir after the death of the client") {
          try client("rmdir", mount("demo")) != "EBUSY"
        }
        #expect(try client("stat", mount("demo")) == "ENOENT")
      }
    }

    /// As with any file: the call holds it open, and goes on.
    @Test(arguments: BlockedCall.allCases.filter { $0.place != .epoll })
    func `goes on when another thread closes its descriptor`(_ call: BlockedCall) throws {
      try withLayout(BlockedCall.layout) { mount in
        let client = try mount.client()
        let prepared = try call.prepare(client, mount)
        try prepared.block(client, tag: "call")
        #expect(try client("close", prepared.fd) == "0")
        #expect(try client("close", prepared.fd) == "EBADF")
        try client.waitUntilBlocked(in: call.place)
        #expect(try !client.hasReplied)
        try call.end(mount)
        let reply = try client.asynchronousReply("call")
        // poll(2) wakes, and then finds that the descriptor is gone.
        #expect(call.isSuccess(reply) || call.place == .poll && reply == "nval", "\(reply)")
        try eventually("rmdir after the end of the call") {
          try client("rmdir", mount("demo")) == "0"
        }
      }
    }

    @Test(arguments: BlockedCall.allCases)
    func `lets its process be killed after another thread's close`(_ call: BlockedCall) throws {
      try withLayout(BlockedCall.layout) { mount in
        let victim = try mount.client()
        let prepared = try call.prepare(victim, mount)
        try prepared.block(victim, tag: "call")
        #expect(try victim("close", prepared.fd) == "0")
        #expect(victim.kill())
        let client = try mount.client()
        try eventually("rmdir after the death of the client") {
          try client("rmdir", mount("demo")) == "0"
        }
      }
    }

    @Test(arguments: Case.all)
    func `ends when the daemon is asked to end`(_ it: Case) throws {
      try withLayout(BlockedCall.layout) { mount in
        let client = try mount.client(it.abi)
        try it.call.prepare(client, mount).block(client)
        mount.terminate()
        let reply = try client.reply()
        if BlockedCall.parked.contains(it.call) {
          #expect(reply.split(separator: " ").first == "ENODEV", "\(reply)")
        } else {
          #expect(reply != "none", "\(reply)")
        }
        #expect(try client("stat", mount("demo")) == "ENOENT")
      }
    }

    @Test(arguments: BlockedCall.allCases)
    func `ends when it is unmounted by force`(_ call: BlockedCall) throws {
      try withLayout(BlockedCall.layout) { mount in
        let client = try mount.client()
        try call.prepare(client, mount).block(client)
        // Breaks the connection; the mount itself may be busy still, and is the daemon's to detach.
        unsafe mt_umount_force(mount.mountpoint)
        let reply = try client.reply()
        if BlockedCall.parked.contains(call) {
          #expect(reply.hasPrefix("E"), "\(reply)")
        } else {
          #expect(reply != "none", "\(reply)")
        }
        mount.expectCleanEnd()
      }
    }

    /// All of them at once, many times each: whoever ends them must not stop half-way.
    @Test func `a crowd of them ends when the daemon is asked to end`() throws {
      try withLayout(BlockedCall.layout) { mount in
        let clients = try BlockedCall.parked.map { call in
          let client = try mount.client()
          let prepared = try call.prepare(client, mount)
          for index in 0..<8 { try prepared.block(client, tag: "\(index)") }
          try client.waitUntilBlocked(threads: 8)
          return client
        }
        mount.terminate()
        for client in clients {
          for index in 0..<8 {
            let reply = try client.asynchronousReply("\(index)")
            #expect(reply.split(separator: " ").first == "ENODEV", "\(reply)")
          }
        }
      }
    }
  }
}
