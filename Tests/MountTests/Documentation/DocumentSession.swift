// SPDX-License-Identifier: Apache-2.0

/// A shell in which the commands of a document are run one after the other, in a world of its own: where
/// vsocfs is installed, with no processes but its own, and with its own /var/lib and /srv. All that is in it
/// ends with it.
final class DocumentSession {
  private let world: InstalledWorld
  private let shell: ChildProcess
  private let directory: TemporaryDirectory
  private let mark = "the-end-of-a-command"

  /// - Parameter preparation: a script of what the document takes for granted.
  init(preparation: String) throws {
    world = try InstalledWorld()
    directory = try TemporaryDirectory()
    shell = try world.start("exec unshare --pid --fork --kill-child --mount-proc bash")
    _ = try run(
      "mount -t tmpfs none /var/lib && mount -t tmpfs none /srv"
        + " && cp -r /usr/local/share/doc/vsocfs \(home)/vsocfs"
        + " && chown -R \(InstalledWorld.userName): \(home)/vsocfs && cd \(home)/vsocfs",
      within: Deadline.usual)
    let result = try run("set -e\n" + preparation + "\nset +e", within: Deadline.usual)
    guard result.status == 0 else {
      throw HarnessError("the preparation failed: \(result.output)")
    }
  }

  private var home: String { "/home/" + InstalledWorld.userName }

  /// Runs a step as a reader does, who looks before going on.
  ///
  /// - Returns: what is wrong; nil if it said what is shown.
  func perform(_ step: Document.Step) throws -> String? {
    let deadline = Deadline(milliseconds: 20_000)
    var result = try attempt(step)
    // A mount is in use until the daemon has been told of the last close.
    while result.status != 0, step.output.isEmpty, Self.unmounts(step.command), deadline.left > 0 {
      result = try attempt(step)
    }
    let isSilentFailure = result.status != 0 && step.output.isEmpty
    // What runs in the background says things later.
    while !isSilentFailure, !ShownOutput.matches(step.output, result.output),
      let line = try? shell.line(until: Deadline(milliseconds: min(Int(deadline.left), 5000)))
    {
      result.output.append(line)
    }
    guard isSilentFailure || !ShownOutput.matches(step.output, result.output) else { return nil }
    return "status \(result.status), and:\n\(result.output.joined(separator: "\n"))"
  }

  private func attempt(_ step: Document.Step) throws -> (status: Int32, output: [String]) {
    let command = step.command + "\n" + Self.settling(step.command)
    guard !step.isRoots else { return try run(command, within: 20_000) }
    let user = InstalledWorld.userName
    let file = directory.path + "/user"
    try createFile(file, command)
    return try run(
      "setpriv --reuid=\(user) --regid=\(user) --init-groups"
        + " env HOME=\(home) USER=\(user) bash '\(file)'", within: 20_000)
  }

  private static func unmounts(_ command: String) -> Bool {
    command.hasPrefix("umount ") || command.hasPrefix("fusermount3 -u ")
  }

  /// What a reader waits for without noticing: that a reader in the background reads, that a process that
  /// was killed is gone.
  private static func settling(_ command: String) -> String {
    let status = "status=$?; "
    if command.hasPrefix("cat "), command.contains("&  ") || command.hasSuffix("&") {
      return status
        + "until grep -qE 'fuse|request_wait_answer' /proc/$!/stack; do sleep 0.01; done; (exit $status)"
    }
    guard command.hasPrefix("pkill ") else { return "" }
    return status + "while pgrep -x vsocfs > /dev/null; do sleep 0.01; done; (exit $status)"
  }

  private func run(
    _ script: String, within milliseconds: Int
  ) throws -> (status: Int32, output: [String]) {
    let file = directory.path + "/step"
    try createFile(file, script)
    // Its input is nobody's: what reads it must not take the next command.
    try shell.send(line: "source '\(file)' < /dev/null; echo \(mark) $?")
    let deadline = Deadline(milliseconds: milliseconds)
    var output: [String] = []
    while true {
      let line = try shell.line(until: deadline)
      guard let end = line.firstRange(of: mark) else {
        output.append(line)
        continue
      }
      if end.lowerBound != line.startIndex { output.append(String(line[..<end.lowerBound])) }
      return (Int32(line[end.upperBound...].dropFirst()) ?? -1, output)
    }
  }
}
