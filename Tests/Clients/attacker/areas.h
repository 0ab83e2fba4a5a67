/* SPDX-License-Identifier: Apache-2.0 */
/* What attacks on areas of managed regions have in common. */
#ifndef VSOC_ATTACKER_AREAS_H
#define VSOC_ATTACKER_AREAS_H

#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "vsoc_shm.h"
#include "vsocfs_ioctl.h"

enum { PAGE = 4096 };

/* Claims an area for `fd`: 0, or errno. */
static inline int claim(int fd, uint32_t begin, uint32_t pages, uint32_t owner, uint32_t value) {
  struct fd_scoped_permission_arg argument = {
      .perm = {begin, begin + pages * PAGE, owner, value}, .managed_region_fd = fd};
  return ioctl(fd, VSOCFS_CREATE_PERMISSION, &argument) < 0 ? errno : 0;
}

/* Gives it up: 0, or errno. */
static inline int release(int fd) {
  return ioctl(fd, VSOCFS_RELEASE_PERMISSION) < 0 ? errno : 0;
}

/* A COND_WAIT for a value that the word does not have, so that the daemon only looks at it: 0, or errno. */
static inline int look(int fd, uint32_t offset) {
  struct vsoc_cond_wait wait = {
      .offset = offset, .value = 0x7e57, .wait_type = VSOC_WAIT_IF_EQUAL};
  return ioctl(fd, VSOC_COND_WAIT, &wait) < 0 ? errno : 0;
}

#endif
