// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Why a row could not be measured, in words for the table.
struct BenchError: Error {
  let message: String
  /// The user ended the benchmark: the remaining rows are not run.
  var isInterruption = false

  init(_ message: String) {
    self.message = message
  }

  static var interrupted: BenchError {
    var error = BenchError("interrupted")
    error.isInterruption = true
    return error
  }
}

/// The value of a shim, or its -errno as an error.
@discardableResult
func check(_ what: @autoclosure () -> String, _ result: Int32) throws(BenchError) -> Int32 {
  guard result < 0 else { return result }
  throw BenchError("\(what()): \(errorText(-result))")
}

func errorText(_ number: Int32) -> String {
  unsafe strerror(number).map { unsafe String(cString: $0) } ?? "error \(number)"
}
