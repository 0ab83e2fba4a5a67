// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// What is written to a doorbell: offsets, decimal or 0x hex, separated by white space. A 0, or a
/// line without any, is a ring without an offset (SPEC §6).
///
/// It keeps the offsets and not the text: a write that waits for room waits with no more than that.
struct DoorbellText {
  /// The most bytes that one write(2) may bring.
  static let maximumLength = 64 << 10

  private(set) var offsets: [UInt32] = []
  /// For each offset, how many bytes of the text end with it.
  private(set) var ends: [UInt32] = []
  private(set) var isBareRing = false
  let length: Int

  /// - Throws: EMSGSIZE: it is too long. EINVAL for what is no number.
  init(_ text: UnsafeRawBufferPointer) throws(Errno) {
    guard text.count <= Self.maximumLength else { throw .messageTooLong }
    length = text.count
    // Long texts are what keeps others waiting.
    let count = unsafe Self.countWords(text)
    offsets.reserveCapacity(count)
    ends.reserveCapacity(count)
    var isLineEmpty = true
    var index = 0
    while index < text.count {
      let byte = unsafe text[index]
      if byte == UInt8(ascii: "\n") {
        if isLineEmpty { isBareRing = true }
        isLineEmpty = true
        index += 1
      } else if TextNumber.isSpace(byte) {
        index += 1
      } else {
        let value = unsafe try TextNumber.offset(text, &index)
        isLineEmpty = false
        if value == 0 {
          isBareRing = true
        } else {
          offsets.append(value)
          ends.append(UInt32(index))
        }
      }
    }
    if offsets.isEmpty { isBareRing = true }
  }

  private static func countWords(_ text: UnsafeRawBufferPointer) -> Int {
    var count = 0
    var wasSpace = true
    for index in 0..<text.count {
      let isSpace = unsafe TextNumber.isSpace(text[index])
      if wasSpace, !isSpace { count += 1 }
      wasSpace = isSpace
    }
    return count
  }

  /// The length of one offset's line, `0x%08x\n`.
  static let lineLength = 11

  /// The lines for offsets that were read.
  static func lines(_ offsets: [UInt32]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(offsets.count * lineLength)
    for offset in offsets {
      TextNumber.append(offset, to: &bytes)
      bytes.append(UInt8(ascii: "\n"))
    }
    return bytes
  }
}
