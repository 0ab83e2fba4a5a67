/* SPDX-License-Identifier: Apache-2.0 */
/* Claims, in each of the ways that there are: "ioctl" is the original call, "sized" the one with its
 * argument's true size, "text" a line written to `permissions`, "named" one that names the managed
 * descriptor. */
#ifndef VSOC_CLIENT_PERMISSIONS_H
#define VSOC_CLIENT_PERMISSIONS_H

#include "vsoc_shm.h"

/* 0, or -1 and errno. */
int claim_area(const char *way, int fd, struct fd_scoped_permission_arg argument);
int release_area(const char *way, int fd);

#endif
