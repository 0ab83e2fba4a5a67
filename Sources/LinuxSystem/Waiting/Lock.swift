// SPDX-License-Identifier: Apache-2.0

public import Glibc

/// A value behind a mutex (pthread_mutex_t).
///
/// The standard library's `Mutex` is, on Linux, a priority-inheritance futex: under contention the
/// kernel hands it over, where the thread sanitizer sees nothing and takes every guarded value for
/// a race, and each hand-over is two system calls. It must not live in memory that others map.
/// Public though it is for this package only: the compiler inlines nothing else into other modules, and
/// the code for any type costs more than what is done behind the lock, several times a request.
@safe
public struct Lock<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
  @safe
  @usableFromInline struct Storage: ~Copyable {
    @usableFromInline var mutex: pthread_mutex_t
    @usableFromInline var value: Value

    @usableFromInline init(value: consuming Value) {
      unsafe mutex = pthread_mutex_t()
      self.value = value
    }
  }

  @usableFromInline let storage: UnsafeMutablePointer<Storage>

  @inlinable public init(_ value: consuming sending Value) {
    unsafe storage = .allocate(capacity: 1)
    unsafe storage.initialize(to: Storage(value: value))
    unsafe pthread_mutex_init(&storage.pointee.mutex, nil)
  }

  @inlinable deinit {
    unsafe pthread_mutex_destroy(&storage.pointee.mutex)
    unsafe storage.deinitialize(count: 1)
    unsafe storage.deallocate()
  }

  /// Runs `body` with the value, alone. Not recursive.
  @inlinable public borrowing func withLock<Result: ~Copyable, Failure>(
    _ body: (inout sending Value) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    unsafe pthread_mutex_lock(&storage.pointee.mutex)
    defer { unsafe pthread_mutex_unlock(&storage.pointee.mutex) }
    return try unsafe body(&storage.pointee.value)
  }
}
