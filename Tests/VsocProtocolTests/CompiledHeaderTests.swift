// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSystem
import SystemPackage
import Testing

/// The headers carry compile-time asserts of every structure's layout: here they are compiled as a
/// client would, 64- and 32-bit, as C and as C++.
@Suite struct CompiledHeaderTests {
  private static let include = FilePath(#filePath)
    .removingLastComponent().removingLastComponent().removingLastComponent()
    .appending("Sources/CVsocABI/include").string

  struct Compiler: CustomTestStringConvertible {
    var program: String
    var flags: [String]

    var testDescription: String { ([program] + flags).joined(separator: " ") }

    func check(_ source: String) throws -> (isAccepted: Bool, diagnostics: String) {
      let warnings = ["-Wall", "-Wextra", "-Werror"]
      let (isSuccess, errors) = try run(
        [program] + flags + warnings + ["-fsyntax-only", "-I", include, "-"], input: source)
      return (isSuccess, errors)
    }
  }

  /// Runs a program from the search path; its standard error, and whether it ended with 0.
  private static func run(
    _ arguments: [String], input: String
  ) throws -> (isSuccess: Bool, errors: String) {
    // Files instead of pipes: nobody has to read and write at the same time.
    let sourceFile = try SharedMemoryFile(name: "source", size: 0)
    let errorFile = try SharedMemoryFile(name: "errors", size: 0)
    let (source, errors) = (sourceFile.descriptor.raw, errorFile.descriptor.raw)
    let bytes = Array(input.utf8)
    guard unsafe write(source, bytes, bytes.count) == bytes.count else {
      throw Errno(rawValue: errno)
    }
    lseek(source, 0, SEEK_SET)

    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_adddup2(&actions, source, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2)
    var pid: pid_t = 0
    var pointers = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer {
      for index in unsafe pointers.indices { unsafe free(pointers[index]) }
    }
    let error = unsafe posix_spawnp(&pid, arguments[0], &actions, nil, &pointers, environ)
    guard error == 0 else { throw Errno(rawValue: error) }
    var status: Int32 = 0
    while unsafe waitpid(pid, &status, 0) < 0 && errno == EINTR {}

    var text = [UInt8](repeating: 0, count: 1 << 16)
    let count = unsafe pread(errors, &text, text.count, 0)
    return (status == 0, String(decoding: text.prefix(max(count, 0)), as: UTF8.self))
  }

  private static let compilers = [
    Compiler(program: "gcc", flags: ["-m64", "-x", "c", "-std=c11"]),
    Compiler(program: "gcc", flags: ["-m32", "-x", "c", "-std=c11"]),
    Compiler(program: "g++", flags: ["-m64", "-x", "c++", "-std=c++11"]),
    Compiler(program: "g++", flags: ["-m32", "-x", "c++", "-std=c++11"]),
    Compiler(program: "clang", flags: ["-m64", "-x", "c", "-std=c11"]),
    Compiler(program: "clang", flags: ["-m32", "-x", "c", "-std=c11"]),
  ]

  private static let headers = ["vsoc_shm.h", "vsocfs_ioctl.h", "CVsocABI.h"]

  @Test(arguments: compilers, headers)
  func `The asserts hold for every kind of client`(
    compiler: Compiler, header: String
  ) throws {
    // Twice, for the include guards.
    let include = "#include <\(header)>\n"
    let (isAccepted, diagnostics) = try compiler.check(include + include)
    #expect(isAccepted, "\(diagnostics)")
  }

  /// The numbers contain the sizes, so that equal numbers mean equal sizes.
  @Test(arguments: compilers)
  func `A client of any width has the same ioctl numbers`(compiler: Compiler) throws {
    let numbers = [
      ("VSOC_CREATE_FD_SCOPED_PERMISSION", "0x4010f500"),
      ("VSOC_GET_FD_SCOPED_PERMISSION", "0x8010f501"),
      ("VSOC_MAYBE_SEND_INTERRUPT_TO_HOST", "0xf502"),
      ("VSOC_WAIT_FOR_INCOMING_INTERRUPT", "0xf503"),
      ("VSOC_DESCRIBE_REGION", "0x803cf504"),
      ("VSOC_SELF_INTERRUPT", "0xf505"),
      ("VSOC_SEND_INTERRUPT_TO_HOST", "0xf506"),
      ("VSOC_COND_WAIT", "0xc020f507"),
      ("VSOC_COND_WAKE", "0xf508"),
      ("VSOCFS_REGION_INFO", "0x8020f540"),
      ("VSOCFS_POST", "0xf543"),
      ("VSOCFS_DRAIN", "0x8100f544"),
    ]
    let asserts = numbers.map { "VSOC_STATIC_ASSERT(\($0) == \($1)u, \"number\");\n" }
    let source = "#include <vsocfs_ioctl.h>\n" + asserts.joined()
    let (isAccepted, diagnostics) = try compiler.check(source)
    #expect(isAccepted, "\(diagnostics)")
  }

  /// Otherwise nothing above would mean anything.
  @Test(arguments: compilers)
  func `An assert that does not hold is an error`(compiler: Compiler) throws {
    let source = """
      #include <vsocfs_ioctl.h>
      VSOC_STATIC_ASSERT(sizeof(struct vsoc_cond_wait) == 36, "wrong");
      """
    let (isAccepted, diagnostics) = try compiler.check(source)
    #expect(!isAccepted)
    #expect(diagnostics.contains("wrong"))
  }
}
