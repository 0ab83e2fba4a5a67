/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ABI of the virtual SoC's shared memory window: what stands in a region's memory and the
 * ioctls of its `data` file. C11 and C++17, the same for 32- and 64-bit programs.
 *
 * A region of vsocfs joins two ends, guest and host. A descriptor of NAME/data acts for the guest end,
 * one of NAME/peer/data for the host end; "incoming" and "outgoing" are as that end has it. All
 * numbers are little-endian, all offsets and sizes are bytes, and all offsets begin at the region's
 * first byte. The file of a region begins there, too, so that they are also offsets into a mapping.
 *
 * Whoever shares a region may overwrite all of it, and what it says of itself as well: take sizes and
 * offsets from the ioctls, and check what you read from the memory before you use it.
 */
#ifndef VSOC_SHM_H
#define VSOC_SHM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#ifdef __cplusplus
extern "C" {
#define VSOC_STATIC_ASSERT static_assert
#else
#define VSOC_STATIC_ASSERT _Static_assert
#endif

/* ---- What stands in a region's memory ---- */

/* One direction: a table in which its sender posts offsets of words that others sleep on, and a word
 * that tells whether an interrupt is in flight. A slot is 0 (free), or an offset that is a multiple
 * of 4; bit 0 asks the receiver to post the offset back once it has woken its side. Senders post by
 * compare-and-swap, then exchange 1 into the word, and interrupt if it was 0. Receivers exchange 0 into
 * the word, then exchange 0 into each slot that is not, then look at the word again. All of it is
 * sequentially consistent. */
struct vsoc_signal_table_layout {
  uint32_t num_nodes_lg2;              /* the table has 1 << num_nodes_lg2 slots of 4 bytes */
  uint32_t futex_uaddr_table_offset;   /* of the first slot */
  uint32_t interrupt_signalled_offset; /* of the word: 0, or not 0 if an interrupt is in flight */
};

/* Bytes for a region's name, the NUL included. */
#define VSOC_DEVICE_NAME_SIZE 16

/* What a region is; also what VSOC_DESCRIBE_REGION gives. */
struct vsoc_device_region {
  uint16_t current_version;        /* of what is kept in the region: from its layout file */
  uint16_t min_compatible_version; /* the oldest that users may be made for, from there too */
  uint32_t region_begin_offset;    /* in the window; always 0, as each region is a window of its own */
  uint32_t region_end_offset;      /* behind its last byte: its size, whole pages of 4096 bytes */
  uint32_t offset_of_region_data;  /* of what users keep in it, page aligned */
  struct vsoc_signal_table_layout guest_to_host_signal_table; /* the guest end posts here */
  struct vsoc_signal_table_layout host_to_guest_signal_table; /* the host end posts here */
  char device_name[VSOC_DEVICE_NAME_SIZE]; /* NUL-terminated, and NULs up to the end */
  uint32_t managed_by; /* the index of the region that manages it; 0: none does */
};

#define VSOC_LAYOUT_MAJOR_VERSION 2
#define VSOC_LAYOUT_MINOR_VERSION 0

/* At offset 0. */
struct vsoc_shm_layout_descriptor {
  uint16_t major_version;           /* VSOC_LAYOUT_MAJOR_VERSION */
  uint16_t minor_version;           /* VSOC_LAYOUT_MINOR_VERSION */
  uint32_t size;                    /* of the window: the region's */
  uint32_t region_count;            /* of vsoc_device_region; always 1 */
  uint32_t vsoc_region_desc_offset; /* of the first of them */
};

/* ---- Permissions for areas of a managed region ---- */

/* What an owner word holds while nobody has the area. */
#define VSOC_REGION_FREE ((uint32_t)0)

/* The right to an area of a managed region: while an open file of it has one, its offset 0 is the
 * area's first byte, and it reaches nothing else. The file of a managed region that has none reaches
 * nothing. */
struct fd_scoped_permission {
  uint32_t begin_offset; /* of the area, in the managed region: a multiple of 4096, in its data */
  uint32_t end_offset;   /* behind its last byte: a multiple of 4096 */
  uint32_t owner_offset; /* of the owner word, in the manager's data: a multiple of 4 */
  uint32_t owned_value;  /* what the owner word holds as long as the permission lives; not 0 */
};

struct fd_scoped_permission_arg {
  struct fd_scoped_permission perm;
  int32_t managed_region_fd; /* of the caller: an open file of the managed region */
};

/* ---- Sleeping until a word changes ---- */

enum vsoc_wait_type {
  VSOC_WAIT_UNDEFINED = 0,        /* EINVAL */
  VSOC_WAIT_IF_EQUAL = 1,         /* for as long as it takes */
  VSOC_WAIT_IF_EQUAL_TIMEOUT = 2, /* until wake_time_sec and wake_time_nsec at most */
};

struct vsoc_cond_wait {
  uint32_t offset;         /* of the word: a multiple of 4 */
  uint32_t value;          /* the caller sleeps while the word has this value */
  uint64_t wake_time_sec;  /* seconds of CLOCK_MONOTONIC, an absolute time */
  uint32_t wake_time_nsec; /* and nanoseconds, below 1000000000 */
  uint32_t wait_type;      /* enum vsoc_wait_type */
  uint32_t wakes;          /* in and out: each wakeup adds one; written on errors, too */
  uint32_t reserved_1;
};

/* ---- The ioctls ----
 *
 * Of NAME/data and NAME/peer/data. They return 0, or -1 with errno: what is said at each of them, and
 * of all of them ENODEV when the daemon or the region ends. Calls that wait end with EINTR at a
 * signal. Other numbers, and most of these on other files, are ENOTTY. Numbers 0, 2, 5 and 6 change what
 * others see, and are EBADF on a file that is not open for writing. Those with an offset
 * fail with EADDRNOTAVAIL if it is no multiple of 4, and with E2BIG if its word is not inside the
 * region (or, of a managed region, not inside the file's area). */

#define VSOC_IOCTL_TYPE 0xF5

/* Claims an area: takes struct fd_scoped_permission_arg of 20 bytes, of which the number encodes 16;
 * that is part of the ABI. On a file of the manager, managed_region_fd gets the permission; on a
 * file of the managed region (or its `permissions`) that file gets it, and managed_region_fd is
 * not looked at. The owner word must be 0 and becomes owned_value, and the area is free, in one atomic
 * step: one of many callers wins. The permission belongs to the open file description. In this order:
 * EBADF     the file that is asked is not open for writing
 * EFAULT    the argument is not in the caller's memory
 * EPERM     managed_region_fd is not an open file of a managed region, or the daemon may not look at
 *           the caller to see
 * EEXIST    it has a permission already
 * EPERM     its region is not managed by this one
 * EINVAL    begin_offset is not below end_offset
 * ERANGE    the area is not inside the region's data
 * EINVAL    begin_offset or end_offset is no multiple of 4096, or owner_offset none of 4
 * ERANGE    the owner word is not inside the manager's data
 * EINVAL    owned_value is 0
 * EAGAIN    the owner word is not 0, or somebody has a part of the area
 * ENOSPC, ENOMEM  there is no room for the area */
#define VSOC_CREATE_FD_SCOPED_PERMISSION _IOW(VSOC_IOCTL_TYPE, 0, struct fd_scoped_permission)

/* Gives the permission that this file has. ENOENT: none. */
#define VSOC_GET_FD_SCOPED_PERMISSION _IOR(VSOC_IOCTL_TYPE, 1, struct fd_scoped_permission)

/* Exchanges 1 into the outgoing word, and rings the other end if it was 0. EBUSY: it was not, so that
 * an interrupt is in flight already. (The name is the guest's; peer/data rings the guest.) */
#define VSOC_MAYBE_SEND_INTERRUPT_TO_HOST _IO(VSOC_IOCTL_TYPE, 2)

/* Waits until the incoming word is not 0, and leaves it as it is. EINTR. */
#define VSOC_WAIT_FOR_INCOMING_INTERRUPT _IO(VSOC_IOCTL_TYPE, 3)

/* Gives what the region is, as the daemon knows it. */
#define VSOC_DESCRIBE_REGION _IOR(VSOC_IOCTL_TYPE, 4, struct vsoc_device_region)

/* Stores 1 into the incoming word, and wakes those of this end who wait for it. */
#define VSOC_SELF_INTERRUPT _IO(VSOC_IOCTL_TYPE, 5)

/* Rings the other end, whatever the outgoing word holds, and does not change that: what is left to do
 * after an exchange of one's own that found 0. */
#define VSOC_SEND_INTERRUPT_TO_HOST _IO(VSOC_IOCTL_TYPE, 6)

/* Sleeps until the word at `offset` has not `value`, and returns at once if it has not. Somebody has
 * to wake it: VSOC_COND_WAKE, FUTEX_WAKE (shared) on the word, a drain that takes its offset. A wakeup
 * that finds the value there adds one to `wakes`, and the sleep goes on.
 * EADDRNOTAVAIL, E2BIG; EINVAL: wait_type or wake_time_nsec; ETIMEDOUT, EINTR */
#define VSOC_COND_WAIT _IOWR(VSOC_IOCTL_TYPE, 7, struct vsoc_cond_wait)

/* Wakes all who sleep at this offset, in VSOC_COND_WAIT or futex(2), and nobody else. The argument is
 * the offset itself. Change the word first. EADDRNOTAVAIL, E2BIG */
#define VSOC_COND_WAKE _IO(VSOC_IOCTL_TYPE, 8)

VSOC_STATIC_ASSERT(sizeof(struct vsoc_signal_table_layout) == 12, "signal table layout");
VSOC_STATIC_ASSERT(sizeof(struct vsoc_device_region) == 60, "device region");
VSOC_STATIC_ASSERT(offsetof(struct vsoc_device_region, region_begin_offset) == 4, "begin");
VSOC_STATIC_ASSERT(offsetof(struct vsoc_device_region, offset_of_region_data) == 12, "data");
VSOC_STATIC_ASSERT(offsetof(struct vsoc_device_region, guest_to_host_signal_table) == 16, "g2h");
VSOC_STATIC_ASSERT(offsetof(struct vsoc_device_region, host_to_guest_signal_table) == 28, "h2g");
VSOC_STATIC_ASSERT(offsetof(struct vsoc_device_region, device_name) == 40, "name");
VSOC_STATIC_ASSERT(offsetof(struct vsoc_device_region, managed_by) == 56, "managed_by");
VSOC_STATIC_ASSERT(sizeof(struct vsoc_shm_layout_descriptor) == 16, "layout descriptor");
VSOC_STATIC_ASSERT(offsetof(struct vsoc_shm_layout_descriptor, size) == 4, "size");
VSOC_STATIC_ASSERT(sizeof(struct fd_scoped_permission) == 16, "permission");
VSOC_STATIC_ASSERT(sizeof(struct fd_scoped_permission_arg) == 20, "permission argument");
VSOC_STATIC_ASSERT(sizeof(struct vsoc_cond_wait) == 32, "cond wait");
VSOC_STATIC_ASSERT(offsetof(struct vsoc_cond_wait, wake_time_sec) == 8, "seconds");
VSOC_STATIC_ASSERT(offsetof(struct vsoc_cond_wait, wake_time_nsec) == 16, "nanoseconds");
VSOC_STATIC_ASSERT(offsetof(struct vsoc_cond_wait, wait_type) == 20, "wait type");
VSOC_STATIC_ASSERT(offsetof(struct vsoc_cond_wait, wakes) == 24, "wakes");

#ifdef __cplusplus
}
#endif
#endif
