// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// poll(2), select(2) and epoll(7) on both streams, from C.
  @Suite struct Polling {
    /// A stream of the guest end, and what the host end does to make it readable.
    enum Stream: String, CaseIterable, CustomTestStringConvertible {
      case doorbell, signal

      var testDescription: String { rawValue }

      func ring(_ client: Client, _ mount: MountedDaemon) throws {
        let text = self == .doorbell ? "0\n" : "1\n"
        #expect(try client("write", mount("demo/peer/" + rawValue), text) == "2")
      }
    }

    @Test(arguments: Stream.allCases)
    func `not readable before a ring, readable until it is read`(_ stream: Stream) throws {
      try withMount { mount in
        let client = try mount.client()
        let fd = try client.open(mount("demo/" + stream.rawValue))
        for verb in ["poll", "select"] {
          for timeout in ["0", "30"] {
            #expect(try client(verb, fd, "in", timeout) == "none")
          }
          try stream.ring(client, mount)
          // Polling does not take it.
          for _ in 0..<3 { #expect(try client(verb, fd, "in", "10000") == "in") }
          #expect(try !client("read", fd, "100").hasPrefix("E"))
        }
        #expect(try client("nonblock", fd) == "0")
        #expect(try client("read", fd, "100") == "EAGAIN")
      }
    }

    @Test(arguments: Stream.allCases)
    func `epoll level`(_ stream: Stream) throws {
      try withMount { mount in
        let (client, ringer) = try (mount.client(), mount.client())
        let fd = try client.open(mount("demo/" + stream.rawValue))
        let epoll = String(try client.number("epoll"))
        #expect(try client("epoll-add", epoll, fd, "in") == "0")
        #expect(try client("epoll-wait", epoll, "0") == "none")
        for _ in 0..<3 {
          try client.send("epoll-wait", epoll, "-1")
          try client.waitUntilBlocked(in: .epoll)
          try stream.ring(ringer, mount)
          #expect(try client.reply() == "\(fd):in")
          #expect(try client("epoll-wait", epoll, "0") == "\(fd):in")
          #expect(try client("epoll-wait", epoll, "0") == "\(fd):in")
          #expect(try !client("read", fd, "100").hasPrefix("E"))
          #expect(try client("epoll-wait", epoll, "0") == "none")
        }
      }
    }

    @Test(arguments: Stream.allCases)
    func `epoll edge`(_ stream: Stream) throws {
      try withMount { mount in
        let (client, ringer) = try (mount.client(), mount.client())
        let fd = try client.open(mount("demo/" + stream.rawValue))
        let epoll = String(try client.number("epoll"))
        #expect(try client("epoll-add", epoll, fd, "in,edge") == "0")
        #expect(try client("epoll-wait", epoll, "0") == "none")
        for _ in 0..<3 {
          try client.send("epoll-wait", epoll, "-1")
          try client.waitUntilBlocked(in: .epoll)
          try stream.ring(ringer, mount)
          #expect(try client.reply() == "\(fd):in")
          // It is still readable, but nothing has happened since.
          #expect(try client("epoll-wait", epoll, "20") == "none")
          #expect(try client("poll", fd, "in", "0") == "in")
          #expect(try !client("read", fd, "100").hasPrefix("E"))
        }
      }
    }

    /// What was there before the descriptor was added is an edge as well.
    @Test(arguments: Stream.allCases, ["in", "in,edge"])
    func `epoll tells of what was there before`(_ stream: Stream, _ events: String) throws {
      try withMount { mount in
        let client = try mount.client()
        let fd = try client.open(mount("demo/" + stream.rawValue))
        try stream.ring(client, mount)
        let epoll = String(try client.number("epoll"))
        #expect(try client("epoll-add", epoll, fd, events) == "0")
        #expect(try client("epoll-wait", epoll, "10000") == "\(fd):in")
      }
    }

    @Test func `epoll waits for both streams of both ends at once`() throws {
      try withMount { mount in
        let (client, ringer) = try (mount.client(), mount.client())
        let epoll = String(try client.number("epoll"))
        let files = ["doorbell", "signal", "peer/doorbell", "peer/signal"]
        let fds = try files.map { try client.open(mount("demo/" + $0)) }
        for fd in fds { #expect(try client("epoll-add", epoll, fd, "in") == "0") }
        for (index, fd) in fds.enumerated() {
          try client.send("epoll-wait", epoll, "-1")
          try client.waitUntilBlocked(in: .epoll)
          let other = files[(index + 2) % 4]
          #expect(try ringer("write", mount("demo/" + other), index % 2 == 0 ? "0" : "1") == "1")
          #expect(try client.reply() == "\(fd):in")
          #expect(try !client("read", fd, "100").hasPrefix("E"))
        }
      }
    }

    /// Each has its own poll: none may be forgotten because another one came later.
    @Test(arguments: Stream.allCases)
    func `all pollers of a stream wake`(_ stream: Stream) throws {
      try withMount { mount in
        let (client, ringer) = try (mount.client(), mount.client())
        let shared = try client.open(mount("demo/" + stream.rawValue))
        let other = try client.open(mount("demo/" + stream.rawValue))
        // Several threads on one descriptor, a duplicate of it, another descriptor, and select.
        let copy = String(try client.number("dup", shared))
        try client.start("a", "poll", shared, "in", "-1")
        try client.start("b", "poll", shared, "in", "-1")
        try client.start("c", "poll", copy, "in", "-1")
        try client.start("d", "poll", other, "in", "-1")
        try client.start("e", "select", other, "in", "-1")
        try client.waitUntilBlocked(in: .poll, threads: 4)
        try client.waitUntilBlocked(in: .select)
        try stream.ring(ringer, mount)
        for tag in ["a", "b", "c", "d", "e"] {
          #expect(try client.asynchronousReply(tag) == "in", "\(tag)")
        }
      }
    }

    /// What one reads another one is still told of: each handle has its own view.
    @Test(arguments: Stream.allCases)
    func `a read of one handle leaves the other readable`(_ stream: Stream) throws {
      try withMount { mount in
        let client = try mount.client()
        let first = try client.open(mount("demo/" + stream.rawValue))
        let second = try client.open(mount("demo/" + stream.rawValue))
        try stream.ring(client, mount)
        #expect(try !client("read", first, "100").hasPrefix("E"))
        #expect(try client("poll", first, "in", "0") == "none")
        #expect(try client("poll", second, "in", "0") == "in")
        #expect(try !client("read", second, "100").hasPrefix("E"))
        #expect(try client("poll", second, "in", "0") == "none")
      }
    }

    /// A ring must not fall into the gap between the answer to a poll and its handle's keeping.
    @Test func `no ring is lost between polls`() throws {
      try withMount { mount in
        let (server, client) = try (mount.client(), mount.client())
        let rounds = "3000"
        try server.send(
          "pingpong", server.open(mount("demo/peer/doorbell")), rounds, "0x2000", "serve")
        #expect(
          try client(
            "pingpong", client.open(mount("demo/doorbell")), rounds, "0x2000", "start",
            within: 30_000) == rounds)
        #expect(try server.reply() == rounds)
      }
    }

    @Test func `from Python`() throws {
      try withMount { mount in try mount.python("polling.py") }
    }
  }
}
