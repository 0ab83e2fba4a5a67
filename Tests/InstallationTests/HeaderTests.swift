// SPDX-License-Identifier: Apache-2.0

import Testing

extension InstallationTests {
  /// The installed headers, found by pkg-config as any program finds them.
  @Suite struct Headers {
    let installation: Installation

    init() throws {
      installation = try Installation()
    }

    private static let compilers = [
      "gcc -std=c11", "clang -std=c11", "gcc -m32 -std=c11",
      "g++ -std=c++17 -x c++", "clang++ -std=c++17 -x c++", "g++ -m32 -std=c++17 -x c++",
    ]

    private func compile(_ script: String) throws -> ShellResult {
      try shell(
        """
        export PKG_CONFIG_PATH="$DESTDIR/usr/local/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$DESTDIR"
        eval "flags=($(pkg-config --cflags vsocfs))"
        flags+=(-Wall -Wextra -Werror -pedantic)
        \(script)
        """, ["DESTDIR": installation.root])
    }

    /// Each alone, both in either order, and again and again.
    @Test(arguments: compilers)
    func `compiles without a complaint`(compiler: String) throws {
      let (shm, ioctl) = ("#include <vsoc_shm.h>", "#include <vsocfs_ioctl.h>")
      for includes in [
        [shm], [ioctl], [shm, ioctl], [ioctl, shm], [shm, shm, ioctl, ioctl, shm],
      ] {
        let source = (includes + ["int main(void) { return 0; }"]).joined(separator: "\\n")
        let language = compiler.contains("c++") ? "" : "-x c"
        let result = try compile(
          "printf '\(source)\\n' | \(compiler) \"${flags[@]}\" \(language) -fsyntax-only -")
        #expect(result.status == 0 && result.output.isEmpty, "\(result.output)")
      }
    }

    /// And only these: no path of the sources is told to the compiler.
    @Test(arguments: compilers)
    func `numbers are those of the ABI`(compiler: String) throws {
      let result = try compile(
        """
        cp Tests/Clients/headers/numbers.c "$DESTDIR"
        cd "$DESTDIR"
        \(compiler) "${flags[@]}" -o numbers numbers.c
        ./numbers
        """)
      #expect(result.status == 0 && result.output.isEmpty, "\(result.output)")
    }

    /// The programs of the tests and the examples are such programs, too.
    @Test func `clients include nothing else of this project`() throws {
      let result = try compile(
        """
        cp -r Tests/Clients docs/examples "$DESTDIR"
        cd "$DESTDIR"
        gcc -std=gnu17 "${flags[@]}" -fsyntax-only Clients/vsoc-client/*.c Clients/legacy-hal/*.c
        gcc -std=c11 "${flags[@]}" -fsyntax-only examples/*.c
        g++ -std=c++17 "${flags[@]}" -fsyntax-only Clients/headers/*.cpp
        """)
      #expect(result.status == 0 && result.output.isEmpty, "\(result.output)")
    }
  }
}
