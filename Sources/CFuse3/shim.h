/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VSOCFS_CFUSE3_SHIM_H
#define VSOCFS_CFUSE3_SHIM_H

/* The API level must be chosen before the header is seen: 3.14 is what Debian 12 has. */
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#endif
