// SPDX-License-Identifier: Apache-2.0

let mebibyte = 1 << 20

/// First touch and sequential read/write of a mapping: a region against a plain file.
func memoryRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let size = 64 * mebibyte
  let daemons = try bench.startDaemons("bench:64M", andStore: true)
  defer { daemons.stop() }
  let touch = Subject(
    "memory-touch", "first touch of a page, 64 MiB", atMost: 1.05, daemonIn: [.pageCache])
  var rows = try bench.compareWithFile(touch, size: size, on: daemons, isFresh: true) { targets in
    [Client("touch", cpu: 0, targets.data, "\(size)")]
  }
  for (direction, verb) in [("write", "written"), ("read", "read")] {
    let subject = Subject(
      "memory-\(direction)", "a MiB \(verb), 64 MiB sequentially", atMost: 1.05,
      daemonIn: direction == "write" ? [.pageCache] : [])
    rows += try bench.compareWithFile(subject, size: size, on: daemons) { targets in
      [Client("stream", cpu: 0, targets.data, "\(size)", direction, "\(bench.count(10))")]
    }
  }
  // As few dirty pages as a kernel lets a page cache of ours have without writing them back.
  let few = 4 * mebibyte
  let small = Subject("memory-write-small", "a MiB written, 4 MiB sequentially", daemonIn: [])
  rows += try bench.compareWithFile(small, size: few, on: daemons) { targets in
    [Client("stream", cpu: 0, targets.data, "\(few)", "write", "\(bench.count(200))")]
  }
  return rows
}

/// What pages cost that the kernel has to ask for, or has to write back.
func pageRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let size = 16 * mebibyte
  let daemons = try bench.startDaemons("bench:16M", andStore: true)
  defer { daemons.stop() }
  let load = Subject(
    "page-load", "first load from a page, none read ahead", daemonIn: [.pageCache])
  var rows = try bench.compareWithFile(load, size: size, on: daemons, isFresh: true) { targets in
    [Client("load", cpu: 0, targets.data, "\(size)")]
  }
  for (what, text) in [
    ("store", "first store to a page since it was written back"),
    ("sync", "msync of a MiB that was stored to"),
  ] {
    let subject = Subject("page-\(what)", text, daemonIn: what == "sync" ? [.pageCache] : [])
    rows += try bench.compareWithFile(subject, size: size, on: daemons) { targets in
      [Client("sync", cpu: 0, targets.data, "\(size)", what, "\(bench.count(100))")]
    }
  }
  return rows
}

/// pread and pwrite on `data`, and on `data` of the other end, against a plain file.
func transferRows(_ bench: Bench) throws(BenchError) -> [Row] {
  let size = 16 * mebibyte
  let daemons = try bench.startDaemons("bench:16M", andStore: true)
  defer { daemons.stop() }
  var rows: [Row] = []
  for (bytes, label, limit) in [
    (64, "64 B", nil), (4096, "4 KiB", nil), (mebibyte, "1 MiB", 1.1 as Double?),
  ] {
    for direction in ["read", "write"] {
      // A handle that may write to a stored file is the daemon's, for reads too.
      let subject = Subject(
        "transfer-\(direction)-\(bytes)", "p\(direction) \(label)", atMost: limit,
        daemonIn: direction == "write" ? [.pageCache, .store] : [.store])
      let samples = "\(bench.count(bytes == mebibyte ? 200 : 400))"
      rows += try bench.compareWithFile(subject, size: size, on: daemons) { targets in
        [Client("transfer", cpu: 0, targets.data, "\(size)", direction, "\(bytes)", samples)]
      }
    }
  }
  for direction in ["read", "write"] {
    let subject = Subject(
      "transfer-peer-\(direction)", "p\(direction) 4 KiB on peer/data",
      daemonIn: [.pageCache, .store])
    rows += try bench.compareWithFile(subject, size: size, on: daemons) { targets in
      let samples = "\(bench.count(200))"
      return [
        Client("transfer", cpu: 0, targets.peerData, "\(size)", direction, "4096", samples)
      ]
    }
  }
  return rows
}
