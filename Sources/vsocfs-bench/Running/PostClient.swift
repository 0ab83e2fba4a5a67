// SPDX-License-Identifier: Apache-2.0

internal import CVsocBench
internal import VsocProtocol

/// The one measured loop in Swift, because it is the Swift library that it measures: a sender that
/// posts and finds an interrupt in flight already, from a mapping alone.
///
/// Arguments: TARGET SAMPLES fresh|again. The loop runs under a seccomp filter that kills the
/// process at any system call but the exit: that it ends with status 0 is the proof that it makes
/// none.
func runPostClient(
  _ argc: Int32, _ argv: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
) -> Never {
  var count = argc
  let arguments = unsafe vsocfs_bench_client_begin(&count, argv)
  guard let arguments = unsafe arguments, count == 3, let target = unsafe arguments[0],
    let samplesText = unsafe arguments[1], let kind = unsafe arguments[2],
    let samples = unsafe Int(String(cString: samplesText)),
    let geometry = try? RegionGeometry(size: UInt64(PostLoop.regionSize)),
    let memory = unsafe vsocfs_bench_client_map(target, PostLoop.regionSize)
  else { vsocfs_bench_exit(64) }
  let outgoing = geometry.outgoing(of: .guest)
  let window = unsafe RegionWindow(base: memory, size: geometry.size)
  let table = SignalTable(window: window, geometry: outgoing)
  let loop = unsafe PostLoop(
    table: table, slots: memory + Int(outgoing.tableOffset), slotCount: outgoing.slotCount,
    clearsSlots: String(cString: kind) == "fresh")
  _ = table.raiseInterrupt()
  // Once before the filter: first calls may allocate.
  guard loop.run() else { vsocfs_bench_exit(2) }
  vsocfs_bench_record(0, loop.time())
  vsocfs_bench_forbid_system_calls()
  for _ in 0..<samples { vsocfs_bench_record(0, loop.time()) }
  vsocfs_bench_exit(0)
}

/// Posts half a table's worth of offsets, each followed by the look at the interrupt word, and
/// empties the slots as a receiver would, in the same thread.
@safe
struct PostLoop {
  static let regionSize = 1 << 20
  static let repetitions = 200
  static let offsets = 32

  let table: SignalTable
  let slots: UnsafeMutableRawPointer
  let slotCount: Int
  /// Without it all posts but the first find their offset in the table already.
  let clearsSlots: Bool

  /// False if a post was not what the row measures.
  @inline(never)
  func run() -> Bool {
    var unexpected = 0
    for _ in 0..<Self.repetitions {
      for index in 0..<UInt32(Self.offsets) {
        if table.post(0x10000 + index * 4) == .full { unexpected += 1 }
        if table.raiseInterrupt() { unexpected += 1 }
      }
      guard clearsSlots else { continue }
      unsafe slots.initializeMemory(as: UInt32.self, repeating: 0, count: slotCount)
    }
    return unexpected == 0
  }

  /// Nanoseconds per post; the clearing of the slots counts too.
  func time() -> Double {
    let begin = vsocfs_bench_now()
    let fine = run()
    let end = vsocfs_bench_now()
    if !fine { vsocfs_bench_exit(2) }
    return Double(end - begin) / Double(Self.repetitions * Self.offsets)
  }
}
