// SPDX-License-Identifier: Apache-2.0

/// A JSON5 value as it was written: members in their order, numbers with their text.
///
/// Foundation's decoder is not used: it names no line for a syntax error and drops all but one of
/// the members with the same key.
enum JSON5Value: Hashable, Sendable {
  struct Member: Hashable, Sendable {
    var key: String
    var value: JSON5Value
  }

  case null
  case boolean(Bool)
  case string(String)
  /// `natural` is nil for a negative, broken or too large number.
  case number(text: String, natural: UInt64?)
  case array([JSON5Value])
  case object([Member])

  /// What a message calls it.
  var kind: String {
    switch self {
    case .null: "null"
    case .boolean: "a boolean"
    case .string: "a string"
    case .number: "a number"
    case .array: "an array"
    case .object: "an object"
    }
  }
}

/// Where a text is no JSON5, in lines and characters from 1.
struct JSON5Error: Error, Hashable, Sendable {
  var line: Int
  var column: Int
  var problem: String
}
