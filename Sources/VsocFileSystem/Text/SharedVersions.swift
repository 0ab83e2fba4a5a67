// SPDX-License-Identifier: Apache-2.0

internal import LinuxSystem
internal import VsocEngine

/// What many may have open and few change: made once for each change, and shared by all who open it until
/// the next. Whoever has an older one open has that.
///
/// Its lock is held while a version is made: of any number who want one, one makes it.
final class SharedVersions<Value: Sendable>: Sendable {
  private struct State {
    var generation: UInt64 = 0
    var latest: SharedVersion<Value>?
  }

  private let state = Lock(State())
  private let quota: UserQuota

  /// - Parameter quota: of bytes, from which each version takes what it costs for whoever had it made.
  init(quota: UserQuota) { self.quota = quota }

  /// The version of a generation; nil if it would have to be made, and there is no room for its user.
  ///
  /// - Parameters:
  ///   - generation: read before the value is made, so that a change in between makes another version.
  ///   - make: the value, and the bytes that it takes.
  func version(
    _ generation: UInt64, for user: UInt32, _ make: () -> (value: Value, size: Int)
  ) -> SharedVersion<Value>? {
    // What it replaces goes after the lock is released.
    var replaced: SharedVersion<Value>?
    defer { withExtendedLifetime(replaced) {} }
    return state.withLock { state in
      if let latest = state.latest, state.generation == generation { return latest }
      let (value, size) = make()
      guard quota.take(size, for: user) else { return nil }
      let new = SharedVersion(value) { [quota] in quota.giveBack(size, of: user) }
      replaced = state.latest
      state.latest = new
      state.generation = generation
      return new
    }
  }
}

/// A value that costs something for as long as somebody has it.
final class SharedVersion<Value: Sendable>: Sendable {
  let value: Value
  private let onEnd: @Sendable () -> Void

  init(_ value: Value, onEnd: @escaping @Sendable () -> Void = {}) {
    self.value = value
    self.onEnd = onEnd
  }

  deinit { onEnd() }
}
