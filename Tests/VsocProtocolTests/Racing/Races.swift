// SPDX-License-Identifier: Apache-2.0

import Testing

/// What needs the machine's cores for itself, one after the other: threads only race that run.
@Suite(.serialized) enum Races {}
