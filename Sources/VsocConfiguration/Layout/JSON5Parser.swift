// SPDX-License-Identifier: Apache-2.0

extension JSON5Value {
  /// Reads a whole text (https://spec.json5.org). Keys without quotes are ASCII.
  init(parsing text: String) throws(JSON5Error) {
    var parser = JSON5Parser(text)
    self = try parser.document()
  }
}

private struct JSON5Parser {
  /// Far more than a layout has; the parser calls itself for each level.
  private static let maximumDepth = 32

  private let text: String.UnicodeScalarView
  private var position: String.UnicodeScalarView.Index

  init(_ text: String) {
    self.text = text.unicodeScalars
    position = text.unicodeScalars.startIndex
  }

  mutating func document() throws(JSON5Error) -> JSON5Value {
    let result = try value(depth: 0)
    try skipBlanks()
    guard peek == nil else { throw unexpected("the end of the text") }
    return result
  }

  // MARK: - Values

  private mutating func value(depth: Int) throws(JSON5Error) -> JSON5Value {
    try skipBlanks()
    guard depth < Self.maximumDepth else { throw error("nested too deeply") }
    guard let next = peek else { throw unexpected("a value") }
    switch next {
    case "{": return try object(depth: depth)
    case "[": return try array(depth: depth)
    case "\"", "'": return .string(try string())
    case "+", "-", ".", "0"..."9": return try number()
    default: break
    }
    let start = position
    switch word() {
    case "null": return .null
    case "true": return .boolean(true)
    case "false": return .boolean(false)
    case let word where word == "NaN" || word == "Infinity":
      return .number(text: word, natural: nil)
    default:
      position = start
      throw unexpected("a value")
    }
  }

  private mutating func object(depth: Int) throws(JSON5Error) -> JSON5Value {
    advance()
    var members: [JSON5Value.Member] = []
    var keys: Set<String> = []
    while true {
      try skipBlanks()
      if take("}") { return .object(members) }
      let start = position
      let key = try key()
      guard keys.insert(key).inserted else {
        position = start
        throw error("the key \(quoted(key)) stands here twice")
      }
      try skipBlanks()
      guard take(":") else { throw unexpected("':'") }
      members.append(JSON5Value.Member(key: key, value: try value(depth: depth + 1)))
      try skipBlanks()
      guard take(",") || peek == "}" else { throw unexpected("',' or '}'") }
    }
  }

  private mutating func key() throws(JSON5Error) -> String {
    if peek == "\"" || peek == "'" { return try string() }
    guard let first = peek, !("0"..."9").contains(first) else { throw unexpected("a key or '}'") }
    let key = word()
    guard !key.isEmpty else { throw unexpected("a key or '}'") }
    return key
  }

  private mutating func array(depth: Int) throws(JSON5Error) -> JSON5Value {
    advance()
    var elements: [JSON5Value] = []
    while true {
      try skipBlanks()
      if take("]") { return .array(elements) }
      elements.append(try value(depth: depth + 1))
      try skipBlanks()
      guard take(",") || peek == "]" else { throw unexpected("',' or ']'") }
    }
  }

  private mutating func number() throws(JSON5Error) -> JSON5Value {
    let start = position
    let isNegative = peek == "-"
    if peek == "+" || isNegative { advance() }
    if peek == "N" || peek == "I" {
      let word = word()
      guard word == "NaN" || word == "Infinity" else { throw error("not a number", at: start) }
      return .number(text: String(text[start..<position]), natural: nil)
    }
    let digits = position
    // Everything that could be meant as a part of the number, so that `1x` is one mistake.
    while let next = peek, isWordPart(next) || next == "." || isExponentSign(next) { advance() }
    let literal = String(text[start..<position])
    let magnitude = String(text[digits..<position])
    let natural: UInt64?
    if magnitude.hasPrefix("0x") || magnitude.hasPrefix("0X") {
      let hex = magnitude.dropFirst(2)
      guard !hex.isEmpty, hex.unicodeScalars.allSatisfy(\.properties.isASCIIHexDigit) else {
        throw error("not a number", at: start)
      }
      natural = UInt64(hex, radix: 16)
    } else {
      guard isDecimal(magnitude) else { throw error("not a number", at: start) }
      natural = UInt64(magnitude) ?? Double(magnitude).flatMap(UInt64.init(exactly:))
    }
    return .number(text: literal, natural: isNegative && natural != 0 ? nil : natural)
  }

  /// Whether a sign stands here that belongs to the exponent just begun.
  private func isExponentSign(_ scalar: Unicode.Scalar) -> Bool {
    guard scalar == "+" || scalar == "-" else { return false }
    let before = text[text.index(before: position)]
    return before == "e" || before == "E"
  }

  /// `12`, `12.`, `.5`, `12.5e-3`; no leading zeros.
  private func isDecimal(_ text: String) -> Bool {
    var rest = Substring(text)
    func digits() -> Int {
      let run = rest.prefix { ("0"..."9").contains($0) }
      rest = rest.dropFirst(run.count)
      return run.count
    }
    let leadingZero = rest.first == "0"
    let whole = digits()
    guard !leadingZero || whole == 1 else { return false }
    var fraction = 0
    if rest.first == "." {
      rest = rest.dropFirst()
      fraction = digits()
    }
    guard whole + fraction > 0 else { return false }
    if rest.first == "e" || rest.first == "E" {
      rest = rest.dropFirst()
      if rest.first == "+" || rest.first == "-" { rest = rest.dropFirst() }
      guard digits() > 0 else { return false }
    }
    return rest.isEmpty
  }

  // MARK: - Strings

  private mutating func string() throws(JSON5Error) -> String {
    let start = position
    let quote = peek
    advance()
    var result = String.UnicodeScalarView()
    while let next = peek {
      switch next {
      case quote:
        advance()
        return String(result)
      case "\\":
        if let scalar = try escape() { result.append(scalar) }
      case "\n", "\r":
        throw error("the string is not ended on its line", at: start)
      default:
        result.append(next)
        advance()
      }
    }
    throw error("the string is not ended", at: start)
  }

  /// The scalar that an escape stands for; nil for a line continued on the next.
  private mutating func escape() throws(JSON5Error) -> Unicode.Scalar? {
    let start = position
    advance()
    guard let kind = peek else { throw unexpected("an escape") }
    advance()
    switch kind {
    case "b": return "\u{8}"
    case "f": return "\u{c}"
    case "n": return "\n"
    case "r": return "\r"
    case "t": return "\t"
    case "v": return "\u{b}"
    case "x": return Unicode.Scalar(try hexDigits(2, of: start))
    case "u":
      var code = try hexDigits(4, of: start)
      // A surrogate is half of a character: its other half follows as an escape of its own.
      if (0xd800..<0xdc00).contains(code), take("\\"), take("u") {
        let low = try hexDigits(4, of: start)
        guard (0xdc00..<0xe000).contains(low) else { throw error("half a character", at: start) }
        code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw error("half a character", at: start) }
      return scalar
    case "0":
      if let next = peek, ("0"..."9").contains(next) { throw error("not an escape", at: start) }
      return "\0"
    case "1"..."9": throw error("not an escape", at: start)
    case "\r":
      _ = take("\n")
      return nil
    case "\n", "\u{2028}", "\u{2029}": return nil
    default: return kind
    }
  }

  private mutating func hexDigits(
    _ count: Int, of escape: String.UnicodeScalarView.Index
  ) throws(JSON5Error) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<count {
      guard let digit = peek.flatMap({ Character($0).hexDigitValue }), peek!.isASCII else {
        throw error("the escape needs \(count) hexadecimal digits", at: escape)
      }
      value = value << 4 | UInt32(digit)
      advance()
    }
    return value
  }

  // MARK: - The text

  private var peek: Unicode.Scalar? {
    position == text.endIndex ? nil : text[position]
  }

  private mutating func advance() {
    position = text.index(after: position)
  }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard peek == scalar else { return false }
    advance()
    return true
  }

  private func isWordPart(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", "_", "$": true
    default: false
    }
  }

  private mutating func word() -> String {
    let start = position
    while let next = peek, isWordPart(next) { advance() }
    return String(text[start..<position])
  }

  /// White space and comments.
  private mutating func skipBlanks() throws(JSON5Error) {
    while let next = peek {
      switch next {
      case " ", "\n", "\r", "\t", "\u{b}", "\u{c}", "\u{2028}", "\u{2029}", "\u{feff}":
        advance()
      case "/":
        try skipComment()
      default:
        guard !next.isASCII, next.properties.generalCategory == .spaceSeparator else { return }
        advance()
      }
    }
  }

  private mutating func skipComment() throws(JSON5Error) {
    let start = position
    advance()
    if take("/") {
      while let next = peek, !["\n", "\r", "\u{2028}", "\u{2029}"].contains(next) { advance() }
    } else if take("*") {
      while peek != nil {
        if take("*") {
          if take("/") { return }
        } else {
          advance()
        }
      }
      throw error("the comment is not ended", at: start)
    } else {
      throw error("unexpected '/'", at: start)
    }
  }

  // MARK: - Errors

  private func unexpected(_ expected: String) -> JSON5Error {
    guard let found = peek else { return error("the text ends where \(expected) is expected") }
    return error("\(quoted(String(found))) where \(expected) is expected")
  }

  private func error(
    _ problem: String, at place: String.UnicodeScalarView.Index? = nil
  ) -> JSON5Error {
    let before = text[..<(place ?? position)]
    let line = before.count { $0 == "\n" } + 1
    let lineStart = before.lastIndex(of: "\n").map(before.index(after:)) ?? before.startIndex
    return JSON5Error(line: line, column: before[lineStart...].count + 1, problem: problem)
  }
}
