// SPDX-License-Identifier: Apache-2.0

import Testing

/// One after the other: a test looks at what others would change.
@Suite(.serialized) enum InstallationTests {}

extension InstallationTests {
  @Suite struct Files {
    /// The files that there are in any case, without their mode.
    private static let documents = [
      "LICENSE", "README.md", "docs/modes.md", "docs/permissions.md", "docs/protocol.md",
    ]

    @Test func `everything is in its place, and goes again`() throws {
      let installation = try Installation()
      let files = try installation.files
      for file in [
        "777 sbin/mount.fuse.vsocfs",
        "755 sbin/mount.vsocfs",
        "755 usr/local/bin/vsocfs",
        "644 usr/local/include/vsocfs/vsoc_shm.h",
        "644 usr/local/include/vsocfs/vsocfs_ioctl.h",
        "644 usr/local/lib/pkgconfig/vsocfs.pc",
        "644 usr/local/share/bash-completion/completions/vsocfs",
        "644 usr/local/share/fish/vendor_completions.d/vsocfs.fish",
        "644 usr/local/share/zsh/site-functions/_vsocfs",
        "755 usr/local/share/doc/vsocfs/docs/examples/answer.py",
        "644 usr/local/share/doc/vsocfs/docs/examples/ask.c",
        "755 usr/local/share/doc/vsocfs/docs/examples/watch.sh",
      ] + Self.documents.map({ "644 usr/local/share/doc/vsocfs/" + $0 }) {
        #expect(files.contains(file))
      }
      // Each manual page and each unit that there is, and nothing that belongs nowhere.
      let sources = try shell(
        """
        for file in docs/man/*.[58]; do
          test ! -e "$file" || echo "644 usr/local/share/man/man${file##*.}/${file##*/}"
        done
        for file in mount-helpers/systemd/*.in; do
          name=${file##*/}
          test ! -e "$file" || echo "644 usr/local/lib/systemd/system/${name%.in}"
        done
        """
      ).lines
      #expect(files.filter { $0.contains("/man/") || $0.contains("/systemd/") } == sources.sorted())
      #expect(files.allSatisfy { $0.contains("vsoc") })

      // Files of others stay, and so do directories with such in them.
      let others = ["usr/local/bin/other", "usr/local/include/vsocfs/other.h"]
      for other in others {
        #expect(try shell("touch \"$FILE\"", ["FILE": installation.root + "/" + other]).status == 0)
      }
      try installation.run("uninstall")
      #expect(try installation.files == others.map { "644 " + $0 })
      #expect(
        try shell("cd \"$DESTDIR\"; find . -name '*vsoc*'", ["DESTDIR": installation.root]).lines
          == ["./usr/local/include/vsocfs"])
      // What is not there is no fault.
      try installation.run("uninstall")
    }

    @Test func `the variables decide where`() throws {
      let installation = try Installation(
        "PREFIX=/usr MOUNT_HELPER_DIR=/usr/sbin ZSH_COMPLETION_DIR=/usr/share/zsh/vendor-completions"
      )
      let files = try installation.files
      #expect(files.allSatisfy { $0.split(separator: " ")[1].hasPrefix("usr/") })
      #expect(!files.contains { $0.contains("/local/") })
      #expect(files.contains("755 usr/sbin/mount.vsocfs"))
      #expect(files.contains("644 usr/share/zsh/vendor-completions/_vsocfs"))
      try installation.run("uninstall")
      #expect(try installation.files.isEmpty)
    }

    @Test func `all is filled in, and nothing generated beside the sources`() throws {
      // Names and times of whatever is not built.
      let listing =
        #"find . \( -name .git -o -name '.build*' -o -name __pycache__ \) -prune"#
        + #" -o -type f -printf '%p %T@\n'"#
      let before = try shell(listing).output
      #expect(before.contains("./Makefile "))
      let installation = try Installation()
      #expect(try shell(listing).output == before)
      let placeholders = try shell(
        """
        cd "$DESTDIR"
        grep -rlE '@[A-Z]+@' --exclude-dir=doc --exclude=vsocfs . || :
        """, ["DESTDIR": installation.root])
      #expect(placeholders.output.isEmpty)
    }

    @Test func `the version is that of the executable`() throws {
      let installation = try Installation()
      let result = try shell(
        """
        echo "vsocfs $(PKG_CONFIG_PATH="$DESTDIR/usr/local/lib/pkgconfig" pkg-config --modversion vsocfs)"
        "$DESTDIR/usr/local/bin/vsocfs" --version
        """, ["DESTDIR": installation.root])
      #expect(result.lines.count == 2 && result.lines[0] == result.lines[1], "\(result.output)")
    }
  }
}
