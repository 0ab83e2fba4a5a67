// SPDX-License-Identifier: Apache-2.0

internal import CVsocBench
internal import Glibc

/// The memory in which a row's clients leave their samples; see CVsocBench.h.
@safe
final class Board {
  let descriptor: Int32
  private let memory: OpaquePointer

  init() throws(BenchError) {
    descriptor = try check("board", vsocfs_bench_memfd(vsocfs_bench_board_size()))
    guard let memory = unsafe vsocfs_bench_board_map(descriptor) else {
      close(descriptor)
      throw BenchError("board: \(errorText(errno))")
    }
    unsafe self.memory = unsafe memory
  }

  deinit {
    unsafe vsocfs_bench_board_unmap(memory)
    close(descriptor)
  }

  /// Nanoseconds of each sample.
  func samples(_ series: Int32 = 0) -> [Double] {
    unsafe Array(
      UnsafeBufferPointer(
        start: vsocfs_bench_samples(memory, series),
        count: Int(vsocfs_bench_count(memory, series))))
  }

  func tally(_ index: Int32) -> Int { unsafe Int(vsocfs_bench_tally(memory, index)) }

  /// Why a client gave up.
  var error: String? {
    let text = unsafe String(cString: vsocfs_bench_error(memory))
    return text.isEmpty ? nil : text
  }
}
