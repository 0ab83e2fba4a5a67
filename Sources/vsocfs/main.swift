// SPDX-License-Identifier: Apache-2.0

internal import FuseSession
internal import Glibc
internal import LinuxSystem

let arguments = Array(CommandLine.arguments.dropFirst())
ConnectionGuard.runIfAsked(by: arguments)
LookHelper.runIfAsked(by: arguments)
exit(Program.run(arguments: arguments))
