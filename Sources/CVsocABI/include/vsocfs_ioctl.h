/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vsocfs adds to the ABI of vsoc_shm.h, where its terms are explained: ioctls of NAME/data and
 * NAME/peer/data from number 0x40 up, and the shm_signal descriptor that stands in each region.
 */
#ifndef VSOCFS_IOCTL_H
#define VSOCFS_IOCTL_H

#include "vsoc_shm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What stands in a region's memory ---- */

#define SHM_SIGNAL_MAGIC 0x58fa39dfu
#define SHM_SIGNAL_VER 1

/* One end's bit of news; each byte is 0 or not. All accesses are sequentially consistent. */
struct shm_signal_irq {
  uint8_t enabled; /* this end wants notifications: it alone writes this */
  uint8_t pending; /* one is on its way or being worked on: the other end sets, this one clears */
  uint8_t dirty;   /* there is news: the other end sets, this one clears */
};

/* At vsocfs_region_info.shm_signal_offset. To signal an end: store 1 into its `dirty`; if it is enabled
 * and not pending, exchange 1 into `pending`, and if that was 0, ring. */
struct shm_signal_desc {
  uint32_t magic; /* SHM_SIGNAL_MAGIC */
  uint32_t ver;   /* SHM_SIGNAL_VER */
  struct shm_signal_irq irq[2]; /* north (the guest end), south (the host end) */
};

/* A posted offset with this bit asks the receiver to post it back, without the bit, after it has woken
 * its side. For those who post through the mapping. */
#define VSOC_OFFSET_ROUND_TRIP ((uint32_t)1)

/* ---- The ioctls: errors as in vsoc_shm.h ----
 *
 * All but VSOCFS_REGION_INFO and VSOCFS_RELEASE_PERMISSION are EBADF on a file that is not open for
 * writing. */

enum vsocfs_end {
  VSOCFS_END_GUEST = 0,
  VSOCFS_END_HOST = 1,
};

/* Where the memory is. */
enum vsocfs_mode {
  VSOCFS_MODE_PASSTHROUGH = 0, /* a memfd, or a file of the store: mapped without the daemon */
  VSOCFS_MODE_PAGE_CACHE = 1,  /* the page cache of `data`; peer/data cannot be mapped (ENODEV) */
};

struct vsocfs_region_info {
  uint32_t size;                  /* of the region */
  uint32_t offset_of_region_data; /* of what users keep in it */
  uint32_t shm_signal_offset;     /* of its struct shm_signal_desc */
  uint32_t index;                 /* from 1: what managed_by of others may name */
  uint32_t end;                   /* enum vsocfs_end: for which end this file acts */
  uint32_t mode;                  /* enum vsocfs_mode */
  uint32_t reserved[2];           /* 0 */
};

/* Gives facts of the region, as the daemon knows them. */
#define VSOCFS_REGION_INFO _IOR(VSOC_IOCTL_TYPE, 0x40, struct vsocfs_region_info)

/* VSOC_CREATE_FD_SCOPED_PERMISSION with the true size of its argument. */
#define VSOCFS_CREATE_PERMISSION _IOW(VSOC_IOCTL_TYPE, 0x41, struct fd_scoped_permission_arg)

/* Gives this file's permission up at once, also while the area is mapped: the owner word is 0 when the
 * call returns, mappings of this file are SIGBUS, and it may claim again. ENOENT: there is none. EBUSY:
 * somebody writes behind the end of the file, so that mappings cannot be taken away (page-cache mode
 * only); nothing has changed. */
#define VSOCFS_RELEASE_PERMISSION _IO(VSOC_IOCTL_TYPE, 0x42)

/* Posts the offset that is the argument itself (not 0) in the outgoing table, and interrupts the other
 * end unless an interrupt is in flight. Never waits. EADDRNOTAVAIL, E2BIG; EAGAIN: the table is
 * full */
#define VSOCFS_POST _IO(VSOC_IOCTL_TYPE, 0x43)

#define VSOCFS_DRAIN_MAX 62

struct vsocfs_drain {
  uint32_t count; /* of the offsets that follow: 0 to VSOCFS_DRAIN_MAX */
  uint32_t more;  /* 1: there are more, call again; else 0 */
  /* Each is a multiple of 4; 0 is a ring without an offset. 0xffffffff: this file fell so far behind
   * that offsets were dropped, and any may have been rung. */
  uint32_t offsets[VSOCFS_DRAIN_MAX];
};

/* Takes in the incoming table and gives what was rung at this end since this file's last call; from its
 * first one on, an open file misses nothing, whoever else drains. Never waits: `count` is 0 if there
 * is nothing. */
#define VSOCFS_DRAIN _IOR(VSOC_IOCTL_TYPE, 0x44, struct vsocfs_drain)

/* shm_signal: signals the other end. */
#define VSOCFS_SIGNAL_INJECT _IO(VSOC_IOCTL_TYPE, 0x45)

/* Unmasks and masks this end. What came while it was masked is notified when it is unmasked. */
#define VSOCFS_SIGNAL_ENABLE _IO(VSOC_IOCTL_TYPE, 0x46)
#define VSOCFS_SIGNAL_DISABLE _IO(VSOC_IOCTL_TYPE, 0x47)

VSOC_STATIC_ASSERT(sizeof(struct shm_signal_irq) == 3, "shm_signal irq");
VSOC_STATIC_ASSERT(offsetof(struct shm_signal_desc, irq) == 8, "shm_signal irq offset");
VSOC_STATIC_ASSERT(sizeof(struct shm_signal_desc) == 16, "shm_signal descriptor");
VSOC_STATIC_ASSERT(sizeof(struct vsocfs_region_info) == 32, "region info");
VSOC_STATIC_ASSERT(offsetof(struct vsocfs_region_info, mode) == 20, "mode");
VSOC_STATIC_ASSERT(sizeof(struct vsocfs_drain) == 256, "drain");
VSOC_STATIC_ASSERT(offsetof(struct vsocfs_drain, offsets) == 8, "offsets");

#ifdef __cplusplus
}
#endif
#endif
