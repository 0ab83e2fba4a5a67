// SPDX-License-Identifier: Apache-2.0

internal import VsocEngine
internal import VsocProtocol

extension RegionConfiguration {
  /// The region that `--region NAME[:SIZE]` asks for. The last colon separates the size, so that
  /// a name with a colon needs one.
  ///
  /// - Parameter source: the option, for messages.
  init(argument: String, source: String, defaults: RegionDefaults) throws(ConfigurationError) {
    let colon = argument.utf8.lastIndex(of: UInt8(ascii: ":"))
    let source = "\(source) \(quoted(argument))"
    do throws(ValueProblem) {
      let name = try RegionName(checking: String(argument[..<(colon ?? argument.endIndex)]))
      let size =
        if let colon {
          try Value.regionSize(Value.size(String(argument[argument.utf8.index(after: colon)...])))
        } else {
          defaults.size
        }
      let geometry: RegionGeometry
      do throws(GeometryError) {
        geometry = try RegionGeometry(size: size)
      } catch {
        throw ValueProblem(error, size: size)
      }
      self.init(
        name: name, geometry: geometry, guest: defaults.access, host: defaults.access)
    } catch {
      throw ConfigurationError(source: source, problem: error.text)
    }
  }
}
