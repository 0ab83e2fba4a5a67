// SPDX-License-Identifier: Apache-2.0

import Testing
import VsocEngine
import VsocProtocol

@testable import VsocConfiguration

private func configuration(
  _ options: String..., regions: [String] = [], uid: UInt32 = 0
) throws(ConfigurationError) -> MountConfiguration {
  try MountConfiguration(
    MountRequest(mountpoint: "/m", options: options, regions: regions), uid: uid, gid: 5)
}

@Suite struct MountConfigurationTests {
  @Test func `nothing but a mount point`() throws {
    let root = try configuration()
    #expect(root.mountpoint == "/m" && root.regions == [])
    #expect(root.rootUID == 0 && root.rootGID == 5 && root.rootMode == 0o755)
    #expect(root.sizeLimit == .usual && root.regionLimit == nil)
    #expect(root.defaultRegionSize == 1 << 20)
    #expect(root.passthrough == .auto && !root.isReadOnly && root.allowOther)
    #expect(
      root.libfuseOptions == [
        "fsname=vsocfs", "subtype=vsocfs", "default_permissions", "allow_other",
      ])
    let user = try configuration(uid: 1000)
    #expect(user.rootUID == 1000 && !user.allowOther)
    #expect(user.libfuseOptions == ["fsname=vsocfs", "subtype=vsocfs", "default_permissions"])
  }

  @Test func `options that set a value`() throws {
    let all = try configuration(
      "size=64M,nr_regions=7,region_size=64K,uid=1,gid=2", "mode=0640,passthrough=on,fsname=a\\b=c")
    #expect(all.sizeLimit == .bytes(64 << 20) && all.defaultRegionSize == 65536)
    #expect(all.regionLimit == 7)
    #expect(all.rootUID == 1 && all.rootGID == 2 && all.rootMode == 0o750)
    #expect(all.passthrough == .on)
    #expect(all.libfuseOptions.first == "fsname=a\\\\b=c")
    #expect(try configuration("size=0").sizeLimit == .none)
    #expect(try configuration("mode=0").rootMode == 0)
    #expect(try configuration("mode=666").rootMode == 0o777)
    #expect(try configuration("mode=222").rootMode == 0o222)
    #expect(try configuration("uid=1,uid=2").rootUID == 2)
  }

  @Test func `regions get their defaults from the options`() throws {
    let regions = try configuration(
      "region=a,region=b:64K,region_size=2M,mode=600,uid=1", regions: ["c d", "e:f:1M"]
    ).regions
    #expect(regions.map(\.name.description) == ["a", "b", "c d", "e:f"])
    #expect(regions.map(\.geometry.size) == [2 << 20, 65536, 2 << 20, 1 << 20])
    #expect(regions.allSatisfy { $0.guest == EndAccess(uid: 1, gid: 5, mode: 0o600) })
    #expect(regions.allSatisfy { $0.host == $0.guest })
  }

  @Test(
    "generic options, as libfuse gets them",
    arguments: [
      ("", []), (",,", []), ("rw", ["rw"]), ("ro", ["ro"]), ("ro,rw", ["rw"]),
      (
        "rw,nosuid,nodev,noexec,sync,dirsync",
        ["rw", "nosuid", "nodev", "noexec", "sync", "dirsync"]
      ),
      ("nosuid,suid,dev,exec,async", ["suid", "dev", "exec", "async"]),
      ("noatime,nodiratime", ["noatime"]), ("noatime,atime", []),
      ("relatime,norelatime,strictatime,nostrictatime,diratime", []),
      ("lazytime,nolazytime,iversion,noiversion,mand,nomand,symfollow,nosymfollow", []),
      ("defaults,default_permissions,nofail,_netdev,noauto,auto,user=joe,users,x-a.b=c,X-y", []),
      ("_rnetdev,comment=x,helper=vsocfs,uhelper=udisks2,owner,group,silent,loud", []),
      ("context=u:o:t,ro,fscontext=a,context=c", ["ro", "fscontext=a", "context=c"]),
      ("sloppy,foo=1,ro", ["ro"]), ("foo,ro,sloppy", ["ro"]),
    ] as [(String, [String])])
  func generic(list: String, expected: [String]) throws {
    let configuration = try configuration(list, "noallow_other")
    #expect(configuration.libfuseOptions.dropFirst(3) == expected[...])
    #expect(configuration.isReadOnly == expected.contains("ro"))
  }

  @Test func `who may enter`() throws {
    #expect(try configuration("allow_other", uid: 1000).allowOther)
    #expect(try configuration("allow_other", uid: 1000).libfuseOptions.contains("allow_other"))
    #expect(try !configuration("noallow_other").allowOther)
    #expect(try !configuration("noallow_other").libfuseOptions.contains("allow_other"))
    #expect(try configuration("noallow_other,allow_other").allowOther)
  }

  @Test(
    "mistakes in options",
    arguments: [
      ("foo", "-o foo: unknown option"), ("ro,foo=1,rw", "-o foo: unknown option"),
      ("RO", "-o RO: unknown option"), (" ro", "-o  ro: unknown option"),
      ("=x", "-o : unknown option"), ("a\nb", "-o a\\u000ab: unknown option"),
      ("max_read=1", "-o max_read: unknown option"),
      ("ro=1", "-o ro: takes no value"), ("allow_other=", "-o allow_other: takes no value"),
      ("size", "-o size: needs a value"), ("size=", "-o size: needs a value"),
      ("layout=", "-o layout: needs a value"), ("region", "-o region: needs a value"),
      ("store", "-o store: needs a value"), ("store=", "-o store: needs a value"),
      ("store=/a,store=/b", "-o store: there can be only one store"),
      ("dev_links=yes", "-o dev_links: takes no value"),
      ("log_level", "-o log_level: needs a value"),
      (
        "log_level=loud",
        #"-o log_level: "loud" is none of error, warning, notice, info, debug"#
      ),
      (
        "remount,ro",
        "-o remount: not possible: unmount, and mount with the new options"
      ),
      ("context", "-o context: needs a value"), ("sloppy=1", "-o sloppy: takes no value"),
      ("sloppy,uid=x", #"-o uid: "x" is not a number from 0 to 4294967294"#),
      ("passthrough=yes", #"-o passthrough: "yes" is none of auto, on, off"#),
      ("subtype=x", "-o subtype: cannot be chosen: the type is always fuse.vsocfs"),
      ("size=1X", #"-o size: "1X" is not a size (bytes, or a number with K, M or G)"#),
      ("size=-1", #"-o size: "-1" is not a size (bytes, or a number with K, M or G)"#),
      ("nr_regions=0", #"-o nr_regions: "0" is not a number from 1 to 4294967295"#),
      ("nr_regions=4K", #"-o nr_regions: "4K" is not a number from 1 to 4294967295"#),
      (
        "nr_regions=1,region=a,region=b",
        "-o nr_regions: 1 is less than the 2 regions that there are to be"
      ),
      ("region_size=5000", "-o region_size: 5000 bytes are not whole pages (of 4096 bytes)"),
      (
        "region_size=4G",
        "-o region_size: 4294967296 bytes are more than the 4294963200 that a region can have"
      ),
      (
        "region_size=0",
        "-o region_size: 0 bytes have no room for the signal tables and a page of data"
      ),
      ("uid=root", #"-o uid: "root" is not a number from 0 to 4294967294"#),
      ("gid=4294967295", #"-o gid: "4294967295" is not a number from 0 to 4294967294"#),
      ("uid=-1", #"-o uid: "-1" is not a number from 0 to 4294967294"#),
      ("uid=+1", #"-o uid: "+1" is not a number from 0 to 4294967294"#),
      ("mode=0755", #"-o mode: "0755" has more than read and write bits (at most 0666)"#),
      ("mode=9", #"-o mode: "9" is not an octal mode such as "0660""#),
      ("layout=/a,layout=/b", "-o layout: there can be only one layout"),
      ("region=a,region=a:1M", #"-o region "a:1M": there is a region "a" already"#),
      (
        "region=.a",
        #"-o region ".a": ".a" is not 1 to 15 bytes without '/' that do not begin with '.'"#
      ),
      ("size=1M,region=a,region=b:12K", "-o size: 1M is less than the 1036K of the regions"),
      ("layout=/nonexistent", "/nonexistent: cannot be read: No such file or directory"),
    ])
  func mistake(list: String, message: String) {
    let error = #expect(throws: ConfigurationError.self) { try configuration(list) }
    #expect(error?.description == message)
  }

  @Test(
    "mistakes in --region",
    arguments: [
      ("", #""": "" is not 1 to 15 bytes without '/' that do not begin with '.'"#),
      (":1M", #"":1M": "" is not 1 to 15 bytes without '/' that do not begin with '.'"#),
      ("a/b", #""a/b": "a/b" is not 1 to 15 bytes without '/' that do not begin with '.'"#),
      ("a:", #""a:": "" is not a size (bytes, or a number with K, M or G)"#),
      ("a:b", #""a:b": "b" is not a size (bytes, or a number with K, M or G)"#),
      ("a:1", #""a:1": 1 bytes are not whole pages (of 4096 bytes)"#),
      ("a:8K", #""a:8K": 8192 bytes have no room for the signal tables and a page of data"#),
    ])
  func regionMistake(argument: String, message: String) {
    let error = #expect(throws: ConfigurationError.self) {
      try configuration(regions: [argument])
    }
    #expect(error?.description == "--region " + message)
  }

  @Test func `where host clients connect`() throws {
    func path(_ options: [String], _ argument: String?) throws(ConfigurationError) -> String? {
      try MountConfiguration(
        MountRequest(mountpoint: "/m", options: options, hostSocket: argument), uid: 0, gid: 0
      ).hostSocket
    }
    #expect(try path([], nil) == nil)
    #expect(try path(["ro,host_socket=/run/a=b"], nil) == "/run/a=b")
    #expect(try path([], "a/../b") == "a/../b")
    for (options, argument, message) in [
      (["host_socket=/a"], "/a", "--host-socket: there can be only one host socket"),
      ([], "", "--host-socket: needs a value"),
      (["host_socket="], nil, "-o host_socket: needs a value"),
      (["host_socket=/a,host_socket=/b"], nil, "-o host_socket: there can be only one host socket"),
    ] as [([String], String?, String)] {
      let error = #expect(throws: ConfigurationError.self) { try path(options, argument) }
      #expect(error?.description == message)
    }
  }

  @Test func `where the store is`() throws {
    func store(_ options: [String], _ argument: String?) throws(ConfigurationError) -> String? {
      try MountConfiguration(
        MountRequest(mountpoint: "/m", options: options, store: argument), uid: 0, gid: 0
      ).store
    }
    #expect(try store([], nil) == nil)
    #expect(try store(["ro,store=/a=b"], nil) == "/a=b")
    #expect(try store([], "a/../b") == "a/../b")
    for (options, argument, message) in [
      (["store=/a"], "/a", "--store: there can be only one store"),
      ([], "", "--store: needs a value"),
    ] {
      let error = #expect(throws: ConfigurationError.self) { try store(options, argument) }
      #expect(error?.description == message)
    }
  }

  @Test func `one layout only, and no region twice`() throws {
    let twice = MountRequest(mountpoint: "/m", options: ["layout=/a"], layout: "/b")
    let error = #expect(throws: ConfigurationError.self) {
      try MountConfiguration(twice, uid: 0, gid: 0)
    }
    #expect(error?.description == "--layout: there can be only one layout")
    #expect(throws: ConfigurationError.self) {
      try configuration("region=a", regions: ["a"])
    }
  }
}
