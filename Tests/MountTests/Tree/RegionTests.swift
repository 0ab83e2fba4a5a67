// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

extension MountTests {
  /// mkdir, rmdir, truncate, and what is left of `size=`.
  @Suite struct Regions {
    @Test func `mkdir makes a region and rmdir destroys it`() throws {
      try withMount([]) { mount in
        let client = try mount.client()
        #expect(try client("list", mount.mountpoint) == ".vsocfs")
        for _ in 0..<3 {
          #expect(try client("mkdir", mount("new"), "0750") == "0")
          #expect(try client("mkdir", mount("new")) == "EEXIST")
          #expect(
            try client("list", mount("new")) == "data/doorbell/info/ivshmem/peer/permissions/signal"
          )
          // The files have the directory's mode without x.
          #expect(try client("stat", mount("new")).hasPrefix("dir 750 0 0 "))
          #expect(try client("stat", mount("new/data")).hasPrefix("file 640 0 0 1048576 "))
          #expect(try client("stat", mount("new/peer/data")).hasPrefix("file 640 0 0 1048576 "))
          #expect(try client("write", mount("new/doorbell"), "0x2000\n") == "7")
          #expect(try client("read", mount("new/peer/doorbell"), "100") == #"0x00002000\n"#)
          // The descriptors of the two calls above are still open.
          #expect(try client("rmdir", mount("new")) == "EBUSY")
          try client.closeDescriptors()
          try eventually("rmdir") { try client("rmdir", mount("new")) == "0" }
          #expect(try client("rmdir", mount("new")) == "ENOENT")
          #expect(try client("stat", mount("new/data")) == "ENOENT")
          #expect(try client("list", mount.mountpoint) == ".vsocfs")
        }
      }
    }

    @Test func `region_size is the size of new regions`() throws {
      try withMount(["-o", "region_size=64K"]) { mount in
        let client = try mount.client()
        #expect(try client("mkdir", mount("new")) == "0")
        #expect(try client("stat", mount("new/data")).contains(" 65536 "))
        #expect(try client("describe", mount("new/peer/data")).contains(" 65536 "))
      }
    }

    @Test(arguments: [
      "data", "doorbell", "signal", "info", "peer/data", "peer/doorbell", "peer/signal",
    ])
    func `an open handle keeps a region`(_ file: String) throws {
      try withMount { mount in
        let client = try mount.client()
        let fd = try client.open(mount("demo/" + file), "r")
        #expect(try client("rmdir", mount("demo")) == "EBUSY")
        let copy = String(try client.number("dup", fd))
        #expect(try client("close", fd) == "0")
        #expect(try client("rmdir", mount("demo")) == "EBUSY")
        #expect(try client("close", copy) == "0")
        // The kernel tells the daemon of it a moment later.
        try eventually("rmdir after close") { try client("rmdir", mount("demo")) == "0" }
      }
    }

    /// The memory lives as long as somebody maps it.
    @Test func `a mapping outlives its region`() throws {
      try withMount { mount in
        let client = try mount.client()
        let fd = try client.open(mount("demo/data"))
        let memory = try client("map", fd, "0x3000")
        #expect(try client("store", memory, "0x2000", "7") == "0")
        #expect(try client("close", fd) == "0")
        if mount.mode == .pageCache {
          // The mapping is a use of the file, as that is what is mapped.
          #expect(try client("rmdir", mount("demo")) == "EBUSY")
          #expect(try client("load", memory, "0x2000") == "7")
          #expect(try client("unmap", memory) == "0")
        }
        try eventually("rmdir after close") { try client("rmdir", mount("demo")) == "0" }
        if mount.mode == .passthrough {
          #expect(try client("load", memory, "0x2000") == "7")
          #expect(try client("store", memory, "0x2000", "8") == "0")
        }
        // A new region of that name is new memory.
        #expect(try client("mkdir", mount("demo")) == "0")
        let other = try client("map", mount("demo/data"), "0x3000")
        #expect(try client("load", other, "0x2000") == "0")
      }
    }

    @Test func `truncate resizes until data is used`() throws {
      try withMount { mount in
        let client = try mount.client()
        let (data, peer) = (mount("demo/data"), mount("demo/peer/data"))
        #expect(try client("truncate", data, "65536") == "0")
        #expect(try client("stat", data).contains(" 65536 "))
        #expect(try client("stat", peer).contains(" 65536 "))
        #expect(try mount.facts("demo/info")["size"] == "65536")
        #expect(try client("truncate", peer, "131072") == "0")
        #expect(try client("stat", data).contains(" 131072 "))
        // Nonsense is refused whether or not it is used.
        for bad in ["1", "4096", "8192", "131073", "0x1fffff"] {
          #expect(try client("truncate", data, bad) == "EINVAL", "\(bad)")
        }
        #expect(try client("truncate", data, "0x100000000") == "EFBIG")
        #expect(try client("truncate", data, "0x7ffffffffffff000") == "EFBIG")
        #expect(try client("stat", data).contains(" 131072 "))
        // That is what O_TRUNC looks like: accepted, and nothing happens.
        #expect(try client("truncate", data, "0") == "0")
        #expect(try client("stat", data).contains(" 131072 "))
        // The header and the ioctls agree.
        let fd = try client.open(data)
        #expect(try client("describe", fd).hasPrefix("0 0 0 131072 8192 "))
        let memory = try client("map", fd, "131072")
        #expect(try client("load", memory, "4") == "131072")
        #expect(try client("load", memory, "131068") == "0")
        #expect(try client("truncate", data, "65536") == "EPERM")
        #expect(try client("truncate", peer, "65536") == "EPERM")
        #expect(try client("ftruncate", fd, "65536") == "EPERM")
        try client.closeDescriptors()
        // For good, not only while it is open.
        #expect(try client("truncate", data, "65536") == "EPERM")
        #expect(try client("stat", data).contains(" 131072 "))
      }
    }

    @Test func `truncate(1) resizes, and dd of a page does not`() throws {
      try withMount { mount in
        let result = try mount.shell(
          """
          set -e
          truncate -s 256K $M/demo/data
          stat -c %s $M/demo/data $M/demo/peer/data
          head -c 16 $M/demo/data > /dev/null
          ! truncate -s 64K $M/demo/data 2> /dev/null
          stat -c %s $M/demo/data
          """)
        #expect(result.status == 0)
        #expect(result.lines == ["262144", "262144", "262144"])
      }
    }

    @Test func `truncating other files does nothing`() throws {
      try withMount { mount in
        let client = try mount.client()
        for file in ["doorbell", "signal", "peer/doorbell", "peer/signal"] {
          #expect(try client("truncate", mount("demo/" + file), "0") == "0")
          #expect(try client("truncate", mount("demo/" + file), "12345") == "0")
          #expect(try client("stat", mount("demo/" + file)).contains(" 2147479552 "))
        }
        #expect(try client("truncate", mount("demo/data"), "65536") == "0")
      }
    }

    @Test func `size caps the sum, and statfs shows it`() throws {
      try withMount(["-o", "size=4M", "--region", "demo:1M"]) { mount in
        let client = try mount.client()
        let (kib, mib) = (1024, 1024 * 1024)
        #expect(try client("statfs", mount.mountpoint) == "\(4 * mib) \(3 * mib)")
        #expect(try client("mkdir", mount("a")) == "0")
        #expect(try client("truncate", mount("a/data"), "\(2 * mib + 4 * kib)") == "0")
        #expect(try client("statfs", mount("a/data")) == "\(4 * mib) \(mib - 4 * kib)")
        #expect(try client("mkdir", mount("b")) == "ENOSPC")
        #expect(try client("stat", mount("b")) == "ENOENT")
        #expect(try client("truncate", mount("a/data"), "\(3 * mib + 4 * kib)") == "ENOSPC")
        #expect(try client("stat", mount("a/data")).contains(" \(2 * mib + 4 * kib) "))
        #expect(try client("truncate", mount("a/data"), "\(3 * mib)") == "0")
        #expect(try client("statfs", mount.mountpoint) == "\(4 * mib) 0")
        #expect(try client("truncate", mount("a/data"), "\(2 * mib)") == "0")
        #expect(try client("mkdir", mount("b")) == "0")
        #expect(try client("mkdir", mount("c")) == "ENOSPC")
        #expect(try client("rmdir", mount("b")) == "0")
        #expect(try client("mkdir", mount("c")) == "0")
        let df = try mount.shell("df --output=size,used,avail -B 1 $M | tail -1")
        #expect(df.lines.first?.split(separator: " ") == ["4194304", "4194304", "0"])
      }
    }

    @Test func `many regions`() throws {
      try withMount(["-o", "region_size=16K"]) { mount in
        let made = try mount.shell(
          "for i in $(seq 300); do mkdir $M/r$i || exit 1; done; ls $M | wc -l")
        #expect(made.status == 0)
        #expect(made.lines.last == "300")
        let client = try mount.client()
        #expect(try client("list", mount.mountpoint).split(separator: "/").count == 301)
        #expect(try client("write", mount("r300/doorbell"), "0x2000\n") == "7")
        #expect(try client("read", mount("r300/peer/doorbell"), "100") == #"0x00002000\n"#)
        #expect(try mount.facts("r300/info")["index"] == "300")
        try client.finish()
        try eventually("all removed") {
          try mount.shell("rmdir $M/r* 2> /dev/null; ls $M | wc -l").lines == ["0"]
        }
      }
    }
  }
}

extension Client {
  /// Closes everything that commands with paths have left open.
  func closeDescriptors() throws {
    for descriptor in 3..<64 { try self("close", "\(descriptor)") }
  }
}
