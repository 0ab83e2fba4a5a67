// SPDX-License-Identifier: Apache-2.0

/// Something that the user asked for and that cannot be: always one line, which says where.
package struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A file (with line and column for a syntax error in a layout), or an option of the command
  /// line.
  package var source: String
  /// A region by its quoted name, or by its place where the name is what is wrong.
  package var region: String?
  /// The key in the region, with a dot before a key of a nested object.
  package var key: String?
  package var problem: String

  package init(source: String, region: String? = nil, key: String? = nil, problem: String) {
    self.source = source
    self.region = region
    self.key = key
    self.problem = problem
  }

  package var description: String {
    ([source] + [region.map { "region \($0)" }, key, problem].compactMap(\.self))
      .map(oneLine).joined(separator: ": ")
  }
}

/// What is wrong with one value; who reads the value adds where it stands.
struct ValueProblem: Error {
  let text: String

  init(_ text: String) {
    self.text = text
  }
}

/// `text` in double quotes, for a message or a layout file; a JSON5 string, on one line.
package func quoted(_ text: String) -> String {
  var result = "\""
  for scalar in text.unicodeScalars {
    if scalar == "\"" || scalar == "\\" { result.append("\\") }
    appendVisibly(scalar, to: &result)
  }
  return result + "\""
}

/// `text` with its control characters escaped: file names may hold line feeds.
private func oneLine(_ text: String) -> String {
  var result = ""
  for scalar in text.unicodeScalars { appendVisibly(scalar, to: &result) }
  return result
}

private func appendVisibly(_ scalar: Unicode.Scalar, to text: inout String) {
  switch scalar.properties.generalCategory {
  case .control, .lineSeparator, .paragraphSeparator:
    // None of these is beyond the 16 bits that the escape has room for.
    let digits = String(scalar.value, radix: 16)
    text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
  default:
    text.unicodeScalars.append(scalar)
  }
}
