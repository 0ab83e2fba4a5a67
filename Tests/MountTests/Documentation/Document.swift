// SPDX-License-Identifier: Apache-2.0

/// One of the documents, as far as tests need it: the blocks of code in it.
struct Document {
  /// Lines between two fences.
  struct Block {
    /// What stands behind the opening fence.
    var language: String
    /// Why a test leaves it out: the text of `<!-- not run: TEXT -->` in the line before.
    var omission: String?
    /// The number of its first line.
    var line: Int
    var lines: [String] = []
  }

  /// A command that a block of `console` shows, and what it says there.
  struct Step {
    var isRoots: Bool
    /// With the lines of a here-document.
    var command: String
    var output: [String]
    var line: Int
  }

  let name: String
  let blocks: [Block]

  /// - Parameter name: relative to the sources.
  init(_ name: String) throws {
    guard let text = contents(of: Programs.sources + "/" + name) else {
      throw HarnessError("cannot read \(name)")
    }
    self.name = name
    var blocks: [Block] = []
    var current: Block?
    var before = ""
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    for (index, line) in lines.enumerated() {
      if line.hasPrefix("```") {
        if let block = current {
          blocks.append(block)
          current = nil
        } else {
          current = Block(
            language: String(line.dropFirst(3)), omission: Self.omission(before), line: index + 2)
        }
      } else {
        current?.lines.append(line)
      }
      before = line
    }
    self.blocks = blocks
  }

  func blocks(in language: String) -> [Block] {
    blocks.filter { $0.language == language }
  }

  private static func omission(_ line: String) -> String? {
    let (prefix, suffix) = ("<!-- not run: ", " -->")
    guard line.hasPrefix(prefix), line.hasSuffix(suffix) else { return nil }
    return String(line.dropFirst(prefix.count).dropLast(suffix.count))
  }
}

extension Document.Block {
  /// `# ` begins a command of root's, `$ ` one of an ordinary user's; everything else is output.
  func steps() throws -> [Document.Step] {
    var steps: [Document.Step] = []
    var index = 0
    while index < lines.count {
      let line = lines[index]
      defer { index += 1 }
      guard line.hasPrefix("# ") || line.hasPrefix("$ ") else {
        guard !steps.isEmpty else { throw HarnessError("line \(self.line): output of nothing") }
        steps[steps.count - 1].output.append(line)
        continue
      }
      var command = String(line.dropFirst(2))
      let number = self.line + index
      while command.hasSuffix("\\"), index + 1 < lines.count {
        index += 1
        command += "\n" + lines[index]
      }
      if let start = command.firstRange(of: "<<") {
        let end = command[start.upperBound...].prefix { $0.isLetter }
        repeat {
          index += 1
          guard index < lines.count else {
            throw HarnessError("line \(number): no end of the here-document")
          }
          command += "\n" + lines[index]
        } while lines[index] != end
      }
      steps.append(
        Document.Step(isRoots: line.hasPrefix("#"), command: command, output: [], line: number))
    }
    return steps
  }
}

/// What is shown may leave something out.
enum ShownOutput {
  /// A line that is only dots stands for any lines, dots in a line for any text, and `1234` for any
  /// number.
  static func matches(_ shown: some Collection<String>, _ found: some Collection<String>) -> Bool {
    guard let line = shown.first else { return found.isEmpty }
    if line == "..." || line == "…" {
      return matches(shown.dropFirst(), found)
        || !found.isEmpty && matches(shown, found.dropFirst())
    }
    guard let other = found.first, matches(line: line, other) else { return false }
    return matches(shown.dropFirst(), found.dropFirst())
  }

  private static func matches(line: String, _ found: String) -> Bool {
    matches(tokens(line)[...], found[...])
  }

  private enum Token {
    case text(Character)
    case anything
    case number
  }

  private static func tokens(_ line: String) -> [Token] {
    var rest = line[...]
    var tokens: [Token] = []
    while let character = rest.first {
      if rest.hasPrefix("...") {
        tokens.append(.anything)
        rest = rest.dropFirst(3)
      } else if rest.hasPrefix("1234") {
        tokens.append(.number)
        rest = rest.dropFirst(4)
      } else {
        tokens.append(character == "…" ? .anything : .text(character))
        rest = rest.dropFirst()
      }
    }
    return tokens
  }

  private static func matches(_ tokens: ArraySlice<Token>, _ text: Substring) -> Bool {
    guard let token = tokens.first else { return text.isEmpty }
    let others = tokens.dropFirst()
    switch token {
    case .text(let character): return text.first == character && matches(others, text.dropFirst())
    case .anything:
      return matches(others, text) || !text.isEmpty && matches(tokens, text.dropFirst())
    case .number:
      guard text.first?.isNumber == true else { return false }
      return matches(others, text.drop { $0.isNumber })
    }
  }
}
