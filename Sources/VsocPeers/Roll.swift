// SPDX-License-Identifier: Apache-2.0

/// Who has come to an end of a region, and who has gone from there, in order: for all who are told of it, each
/// of whom is as far as he has read.
///
/// It is kept once, not for each of them, and only as far as somebody needs it: he is told of those who are
/// there and he has not been told of, and of the going of those he has been told of. Who came and went
/// meanwhile he is told neither of.
struct Roll {
  /// Counts what happens; what happened first has 1.
  typealias Time = UInt64

  struct News: Hashable {
    let time: Time
    let id: UInt16
    let isGone: Bool
  }

  private struct Arrival {
    let time: Time
    let id: UInt16
  }

  private struct Departure {
    let time: Time
    let arrival: Time
    let id: UInt16
  }

  /// When something happened last.
  private(set) var last: Time = 0
  private var present: [Arrival] = []
  private var departures: [Departure] = []
  /// So many departures are looked through for those that nobody needs.
  private var limit = Roll.leastLimit
  private static let leastLimit = 64

  /// How much is kept beyond who is there.
  var departureCount: Int { departures.count }
  var isFull: Bool { departures.count >= limit }
  var isEmpty: Bool { present.isEmpty }

  /// - Returns: when it was, by which it is known from now on.
  mutating func enter(_ id: UInt16) -> Time {
    last += 1
    present.append(Arrival(time: last, id: id))
    return last
  }

  mutating func leave(_ arrival: Time) {
    let index = present.firstIndex(notBefore: arrival, by: \.time)
    guard index < present.count, present[index].time == arrival else { return }
    last += 1
    departures.append(Departure(time: last, arrival: arrival, id: present[index].id))
    present.remove(at: index)
  }

  /// What somebody is to be told next, the same until it was (`Reader.wasTold`) or is not so any more.
  ///
  /// Going comes first: so one who has gone before he was told of is never told of, and an id is gone before it
  /// comes again.
  func next(for reader: inout Reader) -> News? {
    var gone = departures.firstIndex(notBefore: reader.departures + 1, by: \.time)
    while gone < departures.count {
      let departure = departures[gone]
      if departure.arrival <= reader.arrivals {
        return News(time: departure.time, id: departure.id, isGone: true)
      }
      gone += 1
    }
    reader.departures = last
    let come = present.firstIndex(notBefore: reader.arrivals + 1, by: \.time)
    guard come < present.count else { return nil }
    return News(time: present[come].time, id: present[come].id, isGone: false)
  }

  /// Forgets the departures that none of these is to be told of.
  mutating func forget(exceptFor readers: [Reader]) {
    let readers = readers.sorted { $0.departures < $1.departures }
    // The last arrival that one of those knows who come first.
    var known: [Time] = [0]
    for reader in readers { known.append(max(known[known.count - 1], reader.arrivals)) }
    departures.removeAll { departure in
      let behind = readers.firstIndex(notBefore: departure.time, by: \.departures)
      return departure.arrival > known[behind]
    }
    limit = max(Self.leastLimit, 2 * departures.count)
  }

  /// How far somebody is with what he is told.
  struct Reader {
    /// He was told of those who came until then, if they were there still.
    fileprivate(set) var arrivals: Time = 0
    /// Whoever of them went until then, he was told so.
    fileprivate(set) var departures: Time

    /// One who knows nobody.
    init(of roll: Roll) { departures = roll.last }

    mutating func wasTold(_ news: News) {
      if news.isGone { departures = news.time } else { arrivals = news.time }
    }
  }
}

extension Array {
  /// The first place whose value is `least` or more, in an array that is sorted by it.
  fileprivate func firstIndex(notBefore least: UInt64, by value: (Element) -> UInt64) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if value(self[middle]) < least { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
