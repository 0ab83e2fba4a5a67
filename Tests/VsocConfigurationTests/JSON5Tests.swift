// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import VsocConfiguration

private func number(_ text: String, _ natural: UInt64) -> JSON5Value {
  .number(text: text, natural: natural)
}

private func member(_ key: String, _ value: JSON5Value) -> JSON5Value.Member {
  JSON5Value.Member(key: key, value: value)
}

@Suite struct JSON5Tests {
  @Test(
    "values",
    arguments: [
      ("null", .null), (" true // yes", .boolean(true)), ("/* no **/false", .boolean(false)),
      ("'it\\'s'", .string("it's")), (#""say \"so\"""#, .string(#"say "so""#)),
      (#""\b\f\n\r\t\v\0\\\/\q""#, .string("\u{8}\u{c}\n\r\t\u{b}\0\\/q")),
      (#""\x41\u00e9\ud83d\ude00""#, .string("Aé😀")), ("'a\\\nb\\\r\nc'", .string("abc")),
      ("'tab\there'", .string("tab\there")), ("'\u{2028}'", .string("\u{2028}")),
      ("\u{feff}\u{a0}[]\u{3000}", .array([])), ("[1,]", .array([number("1", 1)])),
      ("{}", .object([])), ("{a:null,}", .object([member("a", .null)])),
      (
        "{$a_1: {'b c': 0}, \"d\": []}",
        .object([
          member("$a_1", .object([member("b c", number("0", 0))])), member("d", .array([])),
        ])
      ),
    ] as [(String, JSON5Value)])
  func readValue(text: String, value: JSON5Value) throws {
    #expect(try JSON5Value(parsing: text) == value)
  }

  @Test(
    "numbers",
    arguments: [
      ("0", 0), ("12", 12), ("+5", 5), ("-0", 0), ("-1", nil), ("0x1F", 31), ("-0x1", nil),
      ("12.", 12), (".5", nil), ("1.0", 1), ("1e3", 1000), ("1E+3", 1000), ("2500e-2", 25),
      ("1e-3", nil), ("18446744073709551615", UInt64.max), ("18446744073709551616", nil),
      ("0xffffffffffffffffff", nil), ("1e400", nil), ("1e99999999999999999999", nil),
      ("NaN", nil), ("-NaN", nil), ("Infinity", nil), ("+Infinity", nil), ("-Infinity", nil),
      (String(repeating: "9", count: 100_000), nil),
    ] as [(String, UInt64?)])
  func readNumber(text: String, natural: UInt64?) throws {
    #expect(try JSON5Value(parsing: text) == .number(text: text, natural: natural))
  }

  @Test(
    "mistakes and their places",
    arguments: [
      ("", 1, 1, "the text ends where a value is expected"),
      ("{\n  a: tru,\n}", 2, 6, #""t" where a value is expected"#),
      ("{a: 1", 1, 6, "the text ends where ',' or '}' is expected"),
      ("[1 2]", 1, 4, #""2" where ',' or ']' is expected"#),
      ("[1,,2]", 1, 4, #""," where a value is expected"#),
      ("{a b: 1}", 1, 4, #""b" where ':' is expected"#),
      ("{,}", 1, 2, #""," where a key or '}' is expected"#),
      ("{1: 1}", 1, 2, #""1" where a key or '}' is expected"#),
      ("{a: 1, é: 2}", 1, 8, #""é" where a key or '}' is expected"#),
      ("{a: 1,\n b: 2, a: 3}", 2, 8, #"the key "a" stands here twice"#),
      ("{} x", 1, 4, #""x" where the end of the text is expected"#),
      ("\n'abc", 2, 1, "the string is not ended"),
      ("'a\nb'", 1, 1, "the string is not ended on its line"),
      ("'\\", 1, 3, "the text ends where an escape is expected"),
      ("'\\x4'", 1, 2, "the escape needs 2 hexadecimal digits"),
      ("'\\u12", 1, 2, "the escape needs 4 hexadecimal digits"),
      ("'\\u00٣٣'", 1, 2, "the escape needs 4 hexadecimal digits"),
      ("'\\ud800'", 1, 2, "half a character"), ("'\\udc00'", 1, 2, "half a character"),
      ("'\\ud800\\u0041'", 1, 2, "half a character"),
      ("'\\1'", 1, 2, "not an escape"), ("'\\01'", 1, 2, "not an escape"),
      ("01", 1, 1, "not a number"), ("1x", 1, 1, "not a number"), ("0x", 1, 1, "not a number"),
      ("0xg", 1, 1, "not a number"), ("--1", 1, 1, "not a number"), (".", 1, 1, "not a number"),
      ("1e", 1, 1, "not a number"), ("1e+", 1, 1, "not a number"), ("1.2.3", 1, 1, "not a number"),
      ("1_000", 1, 1, "not a number"), ("+Inf", 1, 1, "not a number"), ("-", 1, 1, "not a number"),
      ("[1] /* x", 1, 5, "the comment is not ended"), ("/ 1", 1, 1, "unexpected '/'"),
      ("\0", 1, 1, #""\u0000" where a value is expected"#),
      (String(repeating: "[", count: 100_000), 1, 33, "nested too deeply"),
      (String(repeating: "{a:", count: 100_000), 1, 97, "nested too deeply"),
    ])
  func mistake(text: String, line: Int, column: Int, problem: String) {
    #expect(throws: JSON5Error(line: line, column: column, problem: problem)) {
      try JSON5Value(parsing: text)
    }
  }
}
