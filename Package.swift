// swift-tools-version: 6.3
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let swiftSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .enableUpcomingFeature("InferIsolatedConformances"),
  .enableUpcomingFeature("ImmutableWeakCaptures"),
  .enableExperimentalFeature("Lifetimes"),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
]

let cSettings: [CSetting] = [
  .enableWarning("all"),
  .enableWarning("extra"),
  .treatAllWarnings(as: .error),
]

/// A Swift target with the settings that every Swift target here shares.
func swiftTarget(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

/// A test target with the same settings.
func testTarget(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let argumentParser = Target.Dependency.product(
  name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
  name: "vsocfs",
  products: [
    .library(name: "VsocProtocol", targets: ["VsocProtocol"]),
    .library(name: "VsocEngine", targets: ["VsocEngine"]),
    .executable(name: "vsocfs", targets: ["vsocfs"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
  ],
  targets: [
    // Shims: system calls, libfuse3 and the C ABI.
    .target(name: "CLinux", cSettings: cSettings),
    .systemLibrary(
      name: "CFuse3", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev", "fuse3"])]),
    .target(name: "CFuseIO", dependencies: ["CFuse3", "CLinux"], cSettings: cSettings),
    .target(name: "CVsocABI", cSettings: cSettings),

    // Owners of descriptors, mappings, threads; the libfuse3 wrapper.
    swiftTarget("LinuxSystem", ["CLinux", system]),
    swiftTarget("FuseSession", ["CFuse3", "CFuseIO", "CLinux", "LinuxSystem", system, logging]),
    swiftTarget("DaemonLog", ["LinuxSystem", logging]),

    // The protocols on raw memory, and the engine that waits and wakes.
    swiftTarget("VsocProtocol", ["CVsocABI"]),
    swiftTarget("VsocEngine", ["VsocProtocol", "LinuxSystem", system, logging]),

    // Participants outside the mount: virtual machines, host clients.
    swiftTarget("VsocPeers", ["VsocEngine", "VsocProtocol", "LinuxSystem", system, logging]),

    // The tree, the layout file, the daemon.
    swiftTarget("VsocConfiguration", ["VsocProtocol", "VsocEngine", "LinuxSystem", system]),
    // The directory in which regions outlive the daemon.
    swiftTarget(
      "VsocStore", ["VsocConfiguration", "VsocEngine", "VsocProtocol", "LinuxSystem", system]),
    swiftTarget(
      "VsocFileSystem",
      [
        "VsocConfiguration", "VsocStore", "VsocPeers", "VsocEngine", "VsocProtocol", "FuseSession",
        "DaemonLog", "LinuxSystem", "CLinux", "CVsocABI", system, logging,
      ]),
    .executableTarget(
      name: "vsocfs",
      dependencies: [
        "VsocFileSystem", "VsocConfiguration", "VsocEngine", "FuseSession", "DaemonLog",
        "LinuxSystem",
        "CLinux", argumentParser, system, logging,
      ],
      swiftSettings: swiftSettings),

    // The benchmark: its measured loops and its baseline daemon are C.
    .target(name: "CVsocBench", dependencies: ["CFuse3", "CVsocABI"], cSettings: cSettings),
    .executableTarget(
      name: "vsocfs-bench",
      dependencies: ["CVsocBench", "VsocProtocol", argumentParser],
      swiftSettings: swiftSettings),

    // Tests, and what several of them use.
    .target(
      name: "TestSupport",
      dependencies: ["VsocProtocol", "LinuxSystem", "CLinux", "CMountTesting", system, logging],
      path: "Tests/TestSupport", swiftSettings: swiftSettings),
    testTarget(
      "VsocProtocolTests",
      ["VsocProtocol", "CVsocABI", "LinuxSystem", "TestSupport", system]),
    testTarget(
      "VsocEngineTests", ["VsocEngine", "VsocProtocol", "LinuxSystem", "TestSupport", system]),
    testTarget(
      "DaemonLogTests", ["DaemonLog", "LinuxSystem", "TestSupport", "CMountTesting", logging]),
    testTarget(
      "LinuxSystemTests", ["LinuxSystem", "CLinux", "TestSupport", "vsocfs", system]),
    testTarget(
      "FuseSessionTests",
      [
        "FuseSession", "CFuseIO", "LinuxSystem", "CLinux", "TestSupport", "CMountTesting", system,
        logging,
      ]),
    testTarget(
      "VsocPeersTests",
      [
        "VsocPeers", "VsocEngine", "VsocProtocol", "LinuxSystem", "TestSupport", "CMountTesting",
        system,
      ]),
    // The whole file system, with the test in the place of the kernel.
    testTarget(
      "VsocFileSystemTests",
      [
        "VsocFileSystem", "VsocConfiguration", "VsocEngine", "VsocProtocol", "DaemonLog",
        "LinuxSystem", "CVsocABI", "TestSupport", system, logging,
      ]),
    testTarget(
      "VsocConfigurationTests",
      ["VsocConfiguration", "VsocEngine", "VsocProtocol", "TestSupport"]),
    testTarget(
      "VsocStoreTests",
      [
        "VsocStore", "VsocConfiguration", "VsocEngine", "VsocProtocol", "LinuxSystem", "CLinux",
        "TestSupport", system,
      ]),

    // What `make install` puts in place; it installs the executable of this build.
    testTarget("InstallationTests", ["TestSupport", "vsocfs"]),

    // Real mounts: the tests, what they need of the system, and the C client they drive.
    .executableTarget(
      name: "vsoc-client", dependencies: ["CVsocABI"], path: "Tests/Clients/vsoc-client",
      cSettings: cSettings),
    // What attackers run.
    .executableTarget(
      name: "vsoc-attacker", dependencies: ["CVsocABI"], path: "Tests/Clients/attacker",
      cSettings: cSettings),
    .executableTarget(
      name: "slow-pages", dependencies: ["CFuse3"], path: "Tests/Clients/slow-pages",
      cSettings: cSettings),
    .target(name: "CMountTesting", path: "Tests/CMountTesting", cSettings: cSettings),
    .testTarget(
      name: "MountTests", dependencies: ["CMountTesting", "TestSupport"], exclude: ["Scripts"],
      swiftSettings: swiftSettings),
  ],
  cLanguageStandard: .gnu17,
)
