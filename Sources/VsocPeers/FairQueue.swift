// SPDX-License-Identifier: Apache-2.0

/// What users want, by turns: one of each who wants something.
struct FairQueue<Element> {
  private var byUser: [UInt32: (elements: [Element], next: Int)] = [:]
  private var turns: [UInt32] = []

  var isEmpty: Bool { turns.isEmpty }

  mutating func append(_ element: Element, of user: UInt32) {
    if byUser[user] == nil { turns.append(user) }
    byUser[user, default: ([], 0)].elements.append(element)
  }

  mutating func popFirst() -> Element? {
    guard let user = turns.first, var own = byUser.removeValue(forKey: user) else { return nil }
    turns.removeFirst()
    let element = own.elements[own.next]
    own.next += 1
    if own.next < own.elements.count {
      // What was taken is let go of once it is half of all.
      if own.next > own.elements.count / 2 {
        own.elements.removeFirst(own.next)
        own.next = 0
      }
      byUser[user] = own
      turns.append(user)
    }
    return element
  }
}
