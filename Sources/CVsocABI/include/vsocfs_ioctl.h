/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vsocfs adds to the ABI of vsoc_shm.h: ioctls of `data` and `peer/data` from number 0x40 up,
 * and the shm_signal descriptor that stands in each region.
 */
#ifndef VSOCFS_IOCTL_H
#define VSOCFS_IOCTL_H

#include "vsoc_shm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SHM_SIGNAL_MAGIC 0x58fa39dfu
#define SHM_SIGNAL_VER 1

struct shm_signal_irq {
  uint8_t enabled;
  uint8_t pending;
  uint8_t dirty;
};

struct shm_signal_desc {
  uint32_t magic;
  uint32_t ver;
  struct shm_signal_irq irq[2]; /* north (guest), south (host) */
};

/* A posted offset with this bit asks the receiver to post it back after it has woken its side. */
#define VSOC_OFFSET_ROUND_TRIP ((uint32_t)1)

enum vsocfs_end {
  VSOCFS_END_GUEST = 0,
  VSOCFS_END_HOST = 1,
};

enum vsocfs_mode {
  VSOCFS_MODE_PASSTHROUGH = 0,
  VSOCFS_MODE_PAGE_CACHE = 1,
};

struct vsocfs_region_info {
  uint32_t size;
  uint32_t offset_of_region_data;
  uint32_t shm_signal_offset;
  uint32_t index;
  uint32_t end;  /* enum vsocfs_end: for which end this handle acts */
  uint32_t mode; /* enum vsocfs_mode */
  uint32_t reserved[2];
};

#define VSOCFS_DRAIN_MAX 62

/* `count` offsets, each a multiple of 4; 0 stands for a ring without an offset, 0xffffffff says
 * that this handle fell so far behind that older offsets were dropped. `more`: call again. */
struct vsocfs_drain {
  uint32_t count;
  uint32_t more;
  uint32_t offsets[VSOCFS_DRAIN_MAX];
};

#define VSOCFS_REGION_INFO _IOR(VSOC_IOCTL_TYPE, 0x40, struct vsocfs_region_info)
/* VSOC_CREATE_FD_SCOPED_PERMISSION with its argument's true size. On a handle of the managed region
 * itself both give that handle the permission, and managed_region_fd is not looked at. */
#define VSOCFS_CREATE_PERMISSION _IOW(VSOC_IOCTL_TYPE, 0x41, struct fd_scoped_permission_arg)
/* Gives this handle's permission up at once, also while the area is mapped. */
#define VSOCFS_RELEASE_PERMISSION _IO(VSOC_IOCTL_TYPE, 0x42)
#define VSOCFS_POST _IO(VSOC_IOCTL_TYPE, 0x43) /* the argument is the offset */
#define VSOCFS_DRAIN _IOR(VSOC_IOCTL_TYPE, 0x44, struct vsocfs_drain)
#define VSOCFS_SIGNAL_INJECT _IO(VSOC_IOCTL_TYPE, 0x45)
#define VSOCFS_SIGNAL_ENABLE _IO(VSOC_IOCTL_TYPE, 0x46)
#define VSOCFS_SIGNAL_DISABLE _IO(VSOC_IOCTL_TYPE, 0x47)

VSOC_STATIC_ASSERT(sizeof(struct shm_signal_irq) == 3, "shm_signal irq");
VSOC_STATIC_ASSERT(offsetof(struct shm_signal_desc, irq) == 8, "shm_signal irq offset");
VSOC_STATIC_ASSERT(sizeof(struct shm_signal_desc) == 16, "shm_signal descriptor");
VSOC_STATIC_ASSERT(sizeof(struct vsocfs_region_info) == 32, "region info");
VSOC_STATIC_ASSERT(sizeof(struct vsocfs_drain) == 256, "drain");

#ifdef __cplusplus
}
#endif
#endif
