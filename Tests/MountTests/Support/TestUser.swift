// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

/// An ordinary user that there is for one test, and a world to try things in: a mount namespace with
/// an /etc of its own, which has this user and an /etc/fuse.conf, with a /dev/fuse for everybody, and
/// with copies of the programs where the user reaches them. The machine's own files stay as they are,
/// and whatever happens, the world and all mounts in it are gone with its last process.
final class TestUser {
  let name = "vsocfs-test-\(getpid())"
  let uid: UInt32
  private let gid: UInt32
  let directory: TemporaryDirectory
  /// Holds the namespace.
  private let keeper: ChildProcess
  private let namespace: Int32

  /// - Parameters:
  ///   - configuration: the text of /etc/fuse.conf.
  ///   - hasControl: whether /sys/fs/fuse/connections is mounted.
  init(configuration: String = "", hasControl: Bool = false) throws {
    directory = try TemporaryDirectory()
    keeper = try ChildProcess(
      "/usr/bin/env",
      ["unshare", "--mount", "sh", "-euc", Self.script, "sh"]
        + [name, directory.path + "/world", Programs.daemon, Programs.client, configuration]
        + [hasControl ? "yes" : "no"])
    let ids = try keeper.line().split(separator: " ").compactMap { UInt32($0) }
    guard ids.count == 2 else { throw HarnessError("no user: \(keeper.transcript)") }
    (uid, gid) = (ids[0], ids[1])
    namespace = unsafe open("/proc/\(keeper.pid)/ns/mnt", O_RDONLY | O_CLOEXEC)
    guard namespace >= 0 else { throw HarnessError("no namespace: errno \(errno)") }
  }

  deinit {
    for pid in processes { kill(pid, SIGKILL) }
    keeper.kill()
    close(namespace)
  }

  private static let script = """
    name=$1 world=$2 daemon=$3 client=$4 configuration=$5 control=$6
    exec 2>&1
    mkdir "$world"
    mount -t tmpfs -o mode=755 vsocfs-test "$world"
    cp -a /etc "$world/etc"
    mount --bind "$world/etc" /etc
    printf '%s' "$configuration" > /etc/fuse.conf
    mknod -m 666 "$world/fuse" c 10 229
    mount --bind "$world/fuse" /dev/fuse
    while mountpoint -q /sys/fs/fuse/connections; do umount /sys/fs/fuse/connections; done
    test $control = no || mount -t fusectl none /sys/fs/fuse/connections
    cp "$daemon" "$client" "$world"
    useradd --system --home-dir "$world/home" --shell /bin/sh "$name"
    install -d -o "$name" -g "$(id -g "$name")" "$world/home" "$world/home/vsoc"
    echo "$(id -u "$name") $(id -g "$name")"
    exec cat
    """

  // MARK: Places and people

  var world: String { directory.path + "/world" }
  var daemon: String { world + "/vsocfs" }
  /// A directory of the user's own.
  var mountpoint: String { world + "/home/vsoc" }

  var identity: mt_identity { mt_identity(uid: uid, gid: gid, mount_namespace: namespace) }
  /// Root, in the user's world.
  var root: mt_identity { mt_identity(uid: 0, gid: 0, mount_namespace: namespace) }
  /// Another user.
  var stranger: mt_identity { mt_identity(uid: 65534, gid: 65534, mount_namespace: namespace) }

  /// The lines of /proc/mounts for the user's mount point.
  var mounts: [[String]] { Mounts.entries(at: mountpoint, seenBy: keeper.pid) }

  /// What the user runs.
  private var processes: [Int32] {
    names(in: "/proc").compactMap { Int32($0) }.filter { Proc.user(of: $0) == uid }
  }

  // MARK: Programs

  /// A client of the user's, or of somebody else in that world.
  func client(as identity: mt_identity? = nil) throws -> Client {
    Client(try ChildProcess(world + "/vsoc-client", [], as: identity ?? self.identity))
  }

  /// Runs a program to its end.
  func run(
    _ path: String, _ arguments: [String], environment: [String: String] = [:],
    as identity: mt_identity? = nil
  ) throws -> ScriptResult {
    let process = try ChildProcess(
      path, arguments, environment: environment, as: identity ?? self.identity)
    process.closeInput()
    let output = try process.rest()
    return ScriptResult(output: output, status: try process.wait())
  }

  /// Runs a script of sh, with `$M` for the mount point.
  func shell(_ script: String, as identity: mt_identity? = nil) throws -> ScriptResult {
    try run(
      "/bin/sh", ["-euc", script], environment: ["M": mountpoint, "W": world], as: identity)
  }

  /// Mounts in the background, as a user does: the daemon's pid.
  func mount(
    _ arguments: [String] = ["--region", "demo"], sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Int32 {
    let result = try run(daemon, arguments + [mountpoint])
    #expect(result.status == 0, "\(result.output)", sourceLocation: sourceLocation)
    #expect(result.output == "", sourceLocation: sourceLocation)
    #expect(mounts.count == 1, sourceLocation: sourceLocation)
    return try #require(
      Proc.processes(withLastArgument: mountpoint).first, sourceLocation: sourceLocation)
  }

  /// Unmounts as soon as what was open there has been closed, which is told to the daemon later.
  func unmount(
    _ daemon: Int32, with program: String = "fusermount3 -u",
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try eventually("unmounted") { try shell("exec \(program) $M").status == 0 }
    try expectEnd(of: daemon, sourceLocation: sourceLocation)
  }

  /// Waits for the end of a daemon, which must leave nothing mounted.
  func expectEnd(of daemon: Int32, sourceLocation: SourceLocation = #_sourceLocation) throws {
    try eventually("the daemon's end\n\(Proc.describe(daemon))") { !Proc.isAlive(daemon) }
    #expect(mounts.isEmpty, sourceLocation: sourceLocation)
  }
}
