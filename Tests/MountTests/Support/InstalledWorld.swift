// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

/// A machine on which this build is installed, as `make install` does it, with an ordinary user: a mount
/// namespace with an /etc, /dev, /run, /mnt and /usr/local of its own, in which the daemon is
/// /usr/local/bin/vsocfs and mount(8) finds its helper in /sbin. The machine's own files stay as they
/// are, and at the end the world is gone with all processes and mounts in it.
final class InstalledWorld {
  /// Who does something in the world.
  enum Person {
    case root
    case user
  }

  static let userName = "alice"
  let uid: UInt32
  let gid: UInt32
  private let directory: TemporaryDirectory
  /// Holds the namespace.
  private let keeper: ChildProcess
  private let namespace: Int32

  /// - Parameters:
  ///   - fuseConfiguration: the text of /etc/fuse.conf.
  ///   - fstab: the text of /etc/fstab.
  init(fuseConfiguration: String = "", fstab: String = "") throws {
    directory = try TemporaryDirectory()
    keeper = try ChildProcess(
      "/usr/bin/env",
      ["unshare", "--mount", "sh", "-euc", Self.script, "sh"]
        + [directory.path + "/world", Programs.sources, Programs.directory, Self.userName]
        + [fuseConfiguration, fstab])
    let ids = try keeper.line(within: 30_000).split(separator: " ").compactMap { UInt32($0) }
    guard ids.count == 2 else {
      throw HarnessError("no world: \(keeper.transcript)\((try? keeper.rest()) ?? "")")
    }
    (uid, gid) = (ids[0], ids[1])
    namespace = unsafe open("/proc/\(keeper.pid)/ns/mnt", O_RDONLY | O_CLOEXEC)
    guard namespace >= 0 else { throw HarnessError("no namespace: errno \(errno)") }
  }

  deinit {
    // A daemon whose guard dies with it can wait for itself for good.
    for pid in processes where !Proc.isGuard(pid) { kill(pid, SIGKILL) }
    try? waitUntilEmpty()
    // The keeper last: without it nobody could be told from others.
    for pid in processes { kill(pid, SIGKILL) }
    try? waitUntilEmpty()
    keeper.kill()
    close(namespace)
  }

  /// The directories that get new files are ones of links to those that there are.
  private static let script = """
    world=$1 sources=$2 programs=$3 user=$4 fuse=$5 fstab=$6
    exec 2>&1
    # Mounts of this kind that the machine has are no part of the world.
    umount --lazy --all --types fuse.vsocfs
    mkdir "$world"
    mount -t tmpfs -o mode=755 vsocfs-test "$world"
    cd "$world"

    mkdir -p machine/usr new/run new/mnt new/dev/shm new/home
    mount --bind /usr machine/usr
    cp -P /bin /lib* machine
    cp -rs "$world/machine/usr/sbin" "$world/machine/usr/local" new
    cp -a /etc new
    cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty new/dev
    test ! -e /dev/kvm || cp -a /dev/kvm new/dev
    mknod -m 666 new/dev/fuse c 10 229
    chmod 1777 new/dev/shm
    ln -s /proc/self/fd new/dev/fd
    for number in 0 1 2; do
      name=$(echo "stdin stdout stderr" | cut -d ' ' -f $((number + 1)))
      ln -s "/proc/self/fd/$number" "new/dev/$name"
    done
    if test -d /dev/pts; then
      mkdir new/dev/pts
      mount --rbind /dev/pts new/dev/pts
      ln -s pts/ptmx new/dev/ptmx
    fi
    mount --bind new/sbin /usr/sbin
    mount --bind new/local /usr/local
    for directory in etc run mnt home; do mount --bind new/$directory /$directory; done
    mount --rbind new/dev /dev

    make --no-print-directory -C "$sources" install BIN="$programs" MAKEFLAGS= > /dev/null
    mkdir /mnt/vsoc /etc/vsocfs /home/root
    printf '%s' "$fuse" > /etc/fuse.conf
    printf '%s' "$fstab" > /etc/fstab
    ln -sf /proc/self/mounts /etc/mtab
    useradd --system --create-home --shell /bin/sh "$user"
    echo "$(id -u "$user") $(id -g "$user")"
    exec cat
    """

  // MARK: Processes and mounts

  /// Whoever is in the world, but for the keeper.
  var processes: [Int32] {
    let own = Self.namespace(of: keeper.pid)
    return names(in: "/proc").compactMap { Int32($0) }.filter { pid in
      pid != keeper.pid && Proc.isAlive(pid) && Self.namespace(of: pid) == own
    }
  }

  private static func namespace(of pid: Int32) -> String? {
    var buffer = [UInt8](repeating: 0, count: 256)
    let length = unsafe readlink("/proc/\(pid)/ns/mnt", &buffer, buffer.count)
    return length > 0 ? String(decoding: buffer[..<length], as: UTF8.self) : nil
  }

  /// The fields (source, mount point, type, options, ...) of what is mounted at `path`, with spaces as
  /// `\040`.
  func mounts(at path: String = "/mnt/vsoc") -> [[String]] {
    Mounts.entries(at: path, seenBy: keeper.pid)
  }

  /// Waits until nobody is left, as after the end of the last mount.
  func waitUntilEmpty() throws {
    try eventually("an empty world: \(processes.map(Proc.describe))") { processes.isEmpty }
  }

  // MARK: Doing things

  func identity(of person: Person) -> mt_identity {
    person == .root
      ? mt_identity(uid: 0, gid: 0, mount_namespace: namespace)
      : mt_identity(uid: uid, gid: gid, mount_namespace: namespace)
  }

  /// Starts a script of sh that the test goes on with, in the home directory of whoever runs it.
  func start(_ script: String, as person: Person = .root) throws -> ChildProcess {
    let name = person == .root ? "root" : Self.userName
    return try ChildProcess(
      "/bin/sh", ["-euc", "cd; " + script],
      environment: ["HOME": "/home/" + name, "USER": name, "LOGNAME": name, "LC_ALL": "C"],
      as: identity(of: person))
  }

  /// Runs a script of sh to its end.
  func shell(
    _ script: String, as person: Person = .root, within milliseconds: Int = 20_000
  ) throws -> ScriptResult {
    let process = try start(script, as: person)
    process.closeInput()
    let output = try process.rest(within: milliseconds)
    return ScriptResult(output: output, status: try process.wait())
  }

  /// Runs a script that must succeed: its output.
  @discardableResult
  func run(
    _ script: String, as person: Person = .root, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> String {
    let result = try shell(script, as: person)
    #expect(result.status == 0, "\(script): \(result.output)", sourceLocation: sourceLocation)
    return result.output
  }

  /// Unmounts as soon as the daemon has been told that what was open there is closed.
  func unmount(_ path: String = "/mnt/vsoc", as person: Person = .root) throws {
    try eventually("unmounted") { try shell("exec umount '\(path)'", as: person).status == 0 }
  }

  /// Writes a file of the world.
  func write(_ text: String, to path: String) throws {
    let process = try start("cat > '\(path)'")
    try process.send(line: text)
    process.closeInput()
    let status = try process.wait()
    guard status == 0 else { throw HarnessError("cannot write \(path): \(process.transcript)") }
  }
}

extension Trait where Self == ConditionTrait {
  /// Not where all is emulated: to build a world takes many seconds there, which other tests need.
  static var ifNotEmulated: Self {
    .enabled(if: Deadline.slowness < 5, "the machine is emulated")
  }
}
