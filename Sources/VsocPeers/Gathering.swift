// SPDX-License-Identifier: Apache-2.0

internal import VsocEngine
internal import VsocProtocol

/// The machines of a region: those of each end are told of those of the other.
///
/// It belongs to the thread of the server.
final class Gathering {
  /// One end of the region.
  struct Side {
    /// Who is, and was, there.
    var roll = Roll()
    /// Those who are there, in no order.
    fileprivate(set) var members: [IvshmemConnection] = []
    /// Whether something happened that not all of the other end have been looked at for.
    var hasNews = false
  }

  let region: Region
  private var guest = Side()
  private var host = Side()

  init(_ region: Region) { self.region = region }

  subscript(end: End) -> Side {
    _read {
      if end == .guest { yield guest } else { yield host }
    }
    _modify {
      if end == .guest { yield &guest } else { yield &host }
    }
  }

  var isEmpty: Bool { guest.members.isEmpty && host.members.isEmpty }
  var departureCount: Int { guest.roll.departureCount + host.roll.departureCount }

  /// - Returns: when it came, by the roll of its end.
  func enter(_ connection: IvshmemConnection, _ id: UInt16) -> Roll.Time {
    connection.place = self[connection.end].members.count
    self[connection.end].members.append(connection)
    self[connection.end].hasNews = true
    return self[connection.end].roll.enter(id)
  }

  func leave(_ connection: IvshmemConnection, since arrival: Roll.Time) {
    let end = connection.end
    let last = self[end].members.removeLast()
    if last !== connection {
      self[end].members[connection.place] = last
      last.place = connection.place
    }
    self[end].roll.leave(arrival)
    self[end].hasNews = true
    if self[end].roll.isFull { forget(end) }
  }

  /// Lets go of what those of the other end have all been told.
  func forget(_ end: End) {
    self[end].roll.forget(exceptFor: self[end.peer].members.compactMap(\.reader))
  }

  /// Who of those for whose sake departures are kept knows least.
  var slowest: IvshmemConnection? {
    let end: End = guest.roll.departureCount > host.roll.departureCount ? .guest : .host
    return self[end.peer].members.min {
      $0.reader?.departures ?? 0 < $1.reader?.departures ?? 0
    }
  }
}
