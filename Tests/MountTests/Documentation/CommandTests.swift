// SPDX-License-Identifier: Apache-2.0

import Testing

extension MountTests {
  /// What the documents show is what happens, on a machine with passthrough, which is what they show.
  @Suite(
    .enabled(if: Deadline.slowness == 1 && MountMode.available.contains(.passthrough)),
    OnlyInMode(.passthrough))
  struct DocumentedCommands {
    /// The documents with commands, and what each takes for granted.
    static let preparations = [
      "README.md": "vsocfs /mnt/vsoc; mkdir /mnt/vsoc/demo",
      "docs/modes.md": "vsocfs --region demo /mnt/vsoc; install -d -o alice /home/alice/vsoc",
      "docs/operations.md": "",
      "docs/permissions.md": """
      echo '{ regions: [{ name: "manager", size: "64K" },
        { name: "buffers", size: "16M", managed_by: "manager" }] }' > /etc/vsocfs/layout.json5
      vsocfs --layout /etc/vsocfs/layout.json5 -o uid=$(id -u alice) /mnt/vsoc
      """,
      "docs/virtual-machines.md": "vsocfs --region demo /mnt/vsoc; useradd --system vm",
    ]

    private static var documents: [Document] {
      get throws {
        let names = ["README.md"] + names(in: Programs.sources + "/docs").map { "docs/" + $0 }
        return try names.filter { $0.hasSuffix(".md") }.map(Document.init)
      }
    }

    @Test func `no document is left out`() throws {
      let withCommands = try Self.documents.filter { !$0.blocks(in: "console").isEmpty }
      #expect(withCommands.map(\.name).sorted() == Self.preparations.keys.sorted())
      // What is not run, and why not.
      let omissions = try Self.documents.flatMap { $0.blocks.compactMap(\.omission) }
      #expect(omissions.filter { $0.contains("needs a virtual machine") }.count == 3)
      #expect(omissions.filter { $0.contains("needs a running systemd") }.count == 1)
      #expect(omissions.count == 4)
    }

    @Test(arguments: preparations.keys.sorted())
    func `commands say what is shown`(_ name: String) throws {
      let session = try DocumentSession(preparation: Self.preparations[name, default: ""])
      for block in try Document(name).blocks(in: "console") where block.omission == nil {
        for step in try block.steps() {
          guard let fault = try session.perform(step) else { continue }
          Issue.record("\(name):\(step.line): \(step.command)\n\(fault)")
          return
        }
      }
    }

    /// What is shown of the log is in it.
    @Test func `lines of the log`() throws {
      let shown = try Self.documents.flatMap { $0.blocks(in: "text") }.flatMap(\.lines)
      #expect(!shown.isEmpty)
      try withMount { mount in
        for line in shown {
          // It is ready before it says so.
          try eventually("\(line) in the log:\n\(mount.allOfLog)") {
            mount.allOfLog.contains("vsocfs: notice: \(line)\n")
          }
        }
      }
    }

    @Test func `layout files are ones`() throws {
      let world = try InstalledWorld()
      let layouts = try Self.documents.flatMap { document in
        document.blocks(in: "json5").map { (document.name, $0) }
      }
      #expect(layouts.count >= 2)
      for (name, block) in layouts {
        try world.write(block.lines.joined(separator: "\n"), to: "/etc/vsocfs/layout.json5")
        let result = try world.shell(
          "vsocfs --check --layout /etc/vsocfs/layout.json5 /mnt/vsoc")
        #expect(result.status == 0, "\(name):\(block.line): \(result.output)")
      }
    }
  }
}
