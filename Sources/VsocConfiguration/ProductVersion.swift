// SPDX-License-Identifier: Apache-2.0

/// The release, as `--version` and `.vsocfs/version` tell it.
package let productVersion = "0.1.0"
