// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import Glibc

/// All rows, in the order of the table. Baselines that need nothing but memory come first.
private let groups = [
  RowGroup(name: "memory", subject: "64 MiB mapping", run: memoryRows),
  RowGroup(name: "page", subject: "pages that come, get dirty and are written back", run: pageRows),
  RowGroup(name: "transfer", subject: "pread and pwrite on data", run: transferRows),
  RowGroup(name: "futex", subject: "ping-pong over two futexes", run: futexRows),
  RowGroup(name: "post", subject: "post to a table from a mapping", run: postRows),
  RowGroup(name: "doorbell", subject: "ping-pong over doorbell", run: doorbellRows),
  RowGroup(name: "peers", subject: "rings from and to outside the mount", run: peerRows),
  RowGroup(name: "ioctl", subject: "suppressed MAYBE_SEND_INTERRUPT", run: ioctlRows),
  RowGroup(name: "open", subject: "open and close", run: openRows),
  RowGroup(name: "claim", subject: "an area of a managed region", run: claimRows),
  RowGroup(name: "claim-many", subject: "an area among many others", run: claimManyRows),
  RowGroup(name: "cond", subject: "COND_WAKE among many sleepers", run: condRows),
  RowGroup(name: "mount", subject: "mount with 4,096 regions", run: mountRows),
  RowGroup(name: "idle", subject: "blocked pollers", run: idleRows),
  RowGroup(
    name: "loops", subject: "thread settings of the C daemon (only when named)", isExtra: true,
    run: loopRows),
]

extension ModeChoice: ExpressibleByArgument {}

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vsocfs-bench",
    abstract: "Measures vsocfs beside its baselines; asserts nothing.",
    discussion: """
      Every figure stands beside a baseline of the same run; the two were measured by turns. \
      The exit status is 1 if a row could not be measured, whatever the figures are.
      """)

  @Flag(help: "A tenth of the samples and 3 rounds: does it run, not how fast is it.")
  var quick = false

  @Flag(help: "List the groups of rows and end.")
  var list = false

  @Option(help: "Rounds of each row.")
  var rounds: Int?

  @Option(help: "Where the results go as JSON.")
  var json = ".build/bench.json"

  @Option(help: "A file for the results as a Markdown table.")
  var markdown: String?

  @Option(help: "How the memory of regions is had: passthrough, page-cache, or both by turns.")
  var mode = ModeChoice.both

  @Option(help: "The vsocfs to measure; the one beside this program if not given.")
  var daemon: String?

  @Option(
    help: """
      Threads of the C daemon: single, mt:N, mt-clone:N or pool:N; if not given, in each row what \
      makes it the fastest.
      """)
  var baselineLoop: String?

  @Argument(help: "Only groups whose name contains one of these.")
  var only: [String] = []

  func validate() throws {
    if let rounds, rounds < 1 { throw ValidationError("--rounds must be at least 1.") }
    for name in only where !groups.contains(where: { $0.name.contains(name) }) {
      throw ValidationError("No group of rows is named '\(name)'; try --list.")
    }
  }

  func run() throws {
    if list {
      for group in groups { print("\(group.name)\t\(group.subject)") }
      return
    }
    do {
      let rows = try measure()
      if rows.contains(where: { $0.failure != nil }) { throw ExitCode(1) }
    } catch let error as BenchError {
      note("vsocfs-bench: \(error.message)")
      throw ExitCode(1)
    }
  }

  private func measure() throws(BenchError) -> [Row] {
    let load = Report.load
    var bench = Bench(
      workplace: try Workplace(), daemonPath: try daemonPath(), modes: mode.modes,
      baselineLoop: baselineLoop, rounds: rounds ?? (quick ? 3 : 9), isQuick: quick)
    try bench.omitImpossibleModes()
    var rows: [Row] = []
    for group in groups where isWanted(group) {
      note("\(group.name): \(group.subject) ...")
      do throws(BenchError) {
        rows += try group.run(bench)
      } catch {
        if error.isInterruption { throw error }
        rows.append(.failed(group.name, group.subject, error))
      }
    }
    let report = Report(rows: rows, bench: bench, loadBefore: load)
    print(report.table(), terminator: "")
    try writeFile(json, try report.json())
    if let markdown { try writeFile(markdown, report.markdown()) }
    return rows
  }

  private func isWanted(_ group: RowGroup) -> Bool {
    only.isEmpty ? !group.isExtra : only.contains { group.name.contains($0) }
  }

  private func daemonPath() throws(BenchError) -> String {
    if let daemon { return daemon }
    guard let own = unsafe realpath("/proc/self/exe", nil) else {
      throw BenchError("/proc/self/exe: \(errorText(errno))")
    }
    defer { unsafe free(own) }
    let path = unsafe String(cString: own)
    return path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
      .joined(separator: "/") + "/vsocfs"
  }

  /// Progress goes to stderr, so that stdout is the table alone.
  private func note(_ text: String) {
    let line = Array("\(text)\n".utf8)
    _ = unsafe line.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
