/* SPDX-License-Identifier: Apache-2.0 */
/* What the shims return: what the call did, or -errno. */
#ifndef VSOCFS_RESULT_H
#define VSOCFS_RESULT_H

#include <errno.h>

static inline int or_errno(long result) { return result < 0 ? -errno : (int)result; }

#endif
