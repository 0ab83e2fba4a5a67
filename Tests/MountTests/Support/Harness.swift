// SPDX-License-Identifier: Apache-2.0

import CMountTesting
import Glibc
import Testing

/// Why a test could not go on: something that had to happen did not, within its deadline.
struct HarnessError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// A point in time that a wait does not go beyond. Deadlines are generous: they are only there so
/// that a fault ends a test instead of hanging the run.
struct Deadline {
  /// How many times slower than usual this machine is, such as one that is emulated: deadlines are as
  /// much later, and what takes long is done less often. VSOCFS_TEST_SLOWNESS says so.
  static let slowness: Int = {
    guard let text = unsafe getenv("VSOCFS_TEST_SLOWNESS") else { return 1 }
    return max(unsafe Int(String(cString: text)) ?? 1, 1)
  }()

  /// For anything that should happen at once.
  static let usual = 10_000

  private let end: Int64

  init(milliseconds: Int = usual) {
    end = mt_milliseconds() + Int64(milliseconds * Self.slowness)
  }

  /// Milliseconds left, 0 when it is over.
  var left: Int32 {
    Int32(clamping: max(end - mt_milliseconds(), 0))
  }
}

/// Waits until `condition` holds, looking again and again: for what no descriptor tells of.
func eventually(
  _ what: @autoclosure () -> String, within milliseconds: Int = Deadline.usual,
  _ condition: () throws -> Bool
) throws {
  let deadline = Deadline(milliseconds: milliseconds)
  while true {
    if try condition() { return }
    if deadline.left == 0 {
      throw HarnessError("not within \(milliseconds) ms: \(what())")
    }
    mt_sleep(1)
  }
}

/// The whole content of a file, such as one of /proc; nil if it cannot be read.
func contents(of path: String) -> String? {
  let fd = unsafe open(path, O_RDONLY | O_CLOEXEC)
  guard fd >= 0 else { return nil }
  defer { close(fd) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 65536)
  while true {
    let count = unsafe read(fd, &chunk, chunk.count)
    if count < 0 { return nil }
    if count == 0 { break }
    bytes += chunk[..<count]
  }
  return String(decoding: bytes, as: UTF8.self)
}

/// Makes a file with this content.
func createFile(_ path: String, _ text: String) throws {
  let fd = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  guard fd >= 0 else { throw HarnessError("cannot create \(path): errno \(errno)") }
  defer { close(fd) }
  let bytes = Array(text.utf8)
  guard unsafe write(fd, bytes, bytes.count) == bytes.count else {
    throw HarnessError("cannot write \(path): errno \(errno)")
  }
}

/// The names in a directory, without `.` and `..`.
func names(in path: String) -> [String] {
  guard let directory = unsafe opendir(path) else { return [] }
  defer { unsafe closedir(directory) }
  var names: [String] = []
  while let entry = unsafe readdir(directory) {
    let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name != "." && name != ".." { names.append(name) }
  }
  return names
}

/// A directory of one test, which everybody may enter; removed at the end with what is in it, the
/// mounts and daemons that a failed test has left included.
final class TemporaryDirectory {
  let path: String

  init() throws {
    var template = Array("/tmp/vsocfs-test.XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else {
      throw HarnessError("mkdtemp: errno \(errno)")
    }
    path = String(
      decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    unsafe chmod(path, 0o755)
  }

  deinit {
    for pid in Proc.daemons(below: path) { kill(pid, SIGKILL) }
    for mountpoint in Mounts.mountpoints(below: path).reversed() {
      unsafe mt_umount_detach(mountpoint)
    }
    Self.remove(path)
  }

  private static func remove(_ path: String) {
    for name in names(in: path) {
      let child = path + "/" + name
      if unsafe unlink(child) == 0 || rmdir(child) == 0 { continue }
      remove(child)
    }
    unsafe rmdir(path)
  }
}

/// What /proc/mounts says.
enum Mounts {
  /// The lines (source, mountpoint, type, ...) of whatever is mounted at `path`, as a process sees it.
  static func entries(at path: String, seenBy process: Int32? = nil) -> [[String]] {
    (contents(of: "/proc/\(process.map { "\($0)" } ?? "self")/mounts") ?? "").split(separator: "\n")
      .compactMap { line in
        let fields = line.split(separator: " ").map(String.init)
        return fields.count > 3 && fields[1] == path ? fields : nil
      }
  }

  static func mountpoints(below path: String) -> [String] {
    (contents(of: "/proc/self/mounts") ?? "").split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      return fields.count > 1 && fields[1].hasPrefix(path) ? String(fields[1]) : nil
    }
  }

  static func contains(_ path: String) -> Bool {
    !entries(at: path).isEmpty
  }
}
