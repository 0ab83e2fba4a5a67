// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A value behind a mutex (pthread_mutex_t).
///
/// The standard library's `Mutex` is, on Linux, a priority-inheritance futex: under contention the
/// kernel hands it over, where the thread sanitizer sees nothing and takes every guarded value for
/// a race, and each hand-over is two system calls. It must not live in memory that others map.
@safe
package struct Lock<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
  @safe
  private struct Storage: ~Copyable {
    var mutex: pthread_mutex_t
    var value: Value
  }

  private let storage: UnsafeMutablePointer<Storage>

  package init(_ value: consuming sending Value) {
    unsafe storage = .allocate(capacity: 1)
    unsafe storage.initialize(to: Storage(mutex: pthread_mutex_t(), value: value))
    unsafe pthread_mutex_init(&storage.pointee.mutex, nil)
  }

  deinit {
    unsafe pthread_mutex_destroy(&storage.pointee.mutex)
    unsafe storage.deinitialize(count: 1)
    unsafe storage.deallocate()
  }

  /// Runs `body` with the value, alone. Not recursive.
  package borrowing func withLock<Result: ~Copyable, Failure>(
    _ body: (inout sending Value) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    unsafe pthread_mutex_lock(&storage.pointee.mutex)
    defer { unsafe pthread_mutex_unlock(&storage.pointee.mutex) }
    return try unsafe body(&storage.pointee.value)
  }
}
