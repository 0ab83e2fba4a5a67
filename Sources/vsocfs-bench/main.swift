// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import CVsocBench

// The executable is driver, client and baseline daemon: the driver starts /proc/self/exe again.
if CommandLine.arguments.dropFirst().prefix(2).elementsEqual(["client", "post"]) {
  unsafe runPostClient(CommandLine.argc, CommandLine.unsafeArgv)
}
let status = unsafe vsocfs_bench_subcommand(CommandLine.argc, CommandLine.unsafeArgv)
if status >= 0 { vsocfs_bench_exit(status) }
BenchCommand.main()
