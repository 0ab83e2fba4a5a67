// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// The table of docs/operations.md by which messages are looked up.
  @Suite(.enabled(if: Deadline.slowness == 1), OnlyInMode(.pageCache)) struct DocumentedMessages {
    private static let place = "/mnt/vsoc"

    /// What leads to each message, in the order of the table; nil for rows that are no message.
    private static let causes: [String?] = [
      "vsocfs /mnt/vsoc; vsocfs /mnt/vsoc",
      "rmdir /mnt/vsoc; vsocfs /mnt/vsoc",
      "rm /dev/fuse; vsocfs /mnt/vsoc",
      "chown daemon /mnt/vsoc; setpriv --reuid=daemon --clear-groups vsocfs -o passthrough=on /mnt/vsoc",
      "vsocfs -o ro,passthrough=off /mnt/vsoc",
      "mkdir /mnt/other; vsocfs --store /mnt/store /mnt/vsoc; vsocfs --store /mnt/store /mnt/other",
      "mkdir /mnt/some; touch /mnt/some/file; vsocfs -o store=/mnt/some /mnt/vsoc",
      "touch /dev/demo; vsocfs -o dev_links --region demo /mnt/vsoc",
      "mount -t vsocfs none /mnt/vsoc; mount -o remount,ro /mnt/vsoc",
      "vsocfs --region demo /mnt/vsoc; exec 3< /mnt/vsoc/demo/doorbell; umount /mnt/vsoc",
      "vsocfs -o size=1M --region demo /mnt/vsoc; mkdir /mnt/vsoc/more",
      "vsocfs /mnt/vsoc; mkdir /mnt/vsoc/a-very-long-name",
      "vsocfs --region demo /mnt/vsoc; exec 3< /mnt/vsoc/demo/data; truncate -s 64K /mnt/vsoc/demo/data",
      "vsocfs --region demo /mnt/vsoc; truncate -s 100 /mnt/vsoc/demo/data",
      "vsocfs --region demo /mnt/vsoc; exec 3< /mnt/vsoc/demo/data; rmdir /mnt/vsoc/demo",
      "vsocfs /mnt/vsoc; pkill -KILL -x vsocfs; while pgrep -x vsocfs > /dev/null; do :; done; ls /mnt/vsoc",
      """
      vsocfs -o passthrough=off --region demo /mnt/vsoc
      python3 -c 'import mmap; f = open("/mnt/vsoc/demo/peer/data", "rb"); mmap.mmap(f.fileno(), 4096, prot=1)'
      until umount /mnt/vsoc 2> /dev/null; do sleep 0.01; done
      """,
      nil,
    ]

    /// Code in the first cells of the last table.
    private static var rows: [String?] {
      get throws {
        let text = try #require(contents(of: Programs.sources + "/docs/operations.md"))
        let start = try #require(text.firstRange(of: "\n## When it does not work\n"))
        let lines = text[start.upperBound...].split(separator: "\n").filter { $0.hasPrefix("| ") }
        return lines.dropFirst().map { line in
          let cell = line.split(separator: "|")[0]
          guard let first = cell.firstIndex(of: "`") else { return nil }
          return String(cell[cell.index(after: first)...].prefix { $0 != "`" })
        }
      }
    }

    @Test func `messages come of what the table says`() throws {
      let rows = try Self.rows
      #expect(rows.count == Self.causes.count)
      for (row, cause) in zip(rows, Self.causes) {
        #expect((row == nil) == (cause == nil))
        guard let row, let cause else { continue }
        let world = try InstalledWorld()
        // With processes of its own only, which end with it.
        let process = try world.start(
          "exec unshare --pid --fork --kill-child --mount-proc bash -c " + Self.quoted(cause))
        process.closeInput()
        let lines = try process.rest().split(separator: "\n").map(String.init)
        #expect(
          lines.contains { ShownOutput.matches(["…" + row + "…"], [$0]) }, "\(row): \(lines)")
      }
    }

    private static func quoted(_ text: String) -> String {
      "'" + text.replacing("'", with: #"'\''"#) + "'"
    }
  }
}
