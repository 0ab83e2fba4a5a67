/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ABI of the virtual SoC's shared memory window: what stands in a region's memory and the
 * ioctls of its `data` file. Layout-identical for 32- and 64-bit programs.
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

/* One direction's table: 1 << num_nodes_lg2 words at futex_uaddr_table_offset, and the word that
 * says whether an interrupt is in flight. Offsets are relative to the region. */
struct vsoc_signal_table_layout {
  uint32_t num_nodes_lg2;
  uint32_t futex_uaddr_table_offset;
  uint32_t interrupt_signalled_offset;
};

#define VSOC_DEVICE_NAME_SIZE 16

struct vsoc_device_region {
  uint16_t current_version;
  uint16_t min_compatible_version;
  uint32_t region_begin_offset;
  uint32_t region_end_offset;
  uint32_t offset_of_region_data;
  struct vsoc_signal_table_layout guest_to_host_signal_table;
  struct vsoc_signal_table_layout host_to_guest_signal_table;
  char device_name[VSOC_DEVICE_NAME_SIZE]; /* NUL-terminated */
  uint32_t managed_by;                     /* a region's index, 0 = not managed */
};

#define VSOC_LAYOUT_MAJOR_VERSION 2
#define VSOC_LAYOUT_MINOR_VERSION 0

/* At offset 0 of the window. */
struct vsoc_shm_layout_descriptor {
  uint16_t major_version;
  uint16_t minor_version;
  uint32_t size;
  uint32_t region_count;
  uint32_t vsoc_region_desc_offset;
};

#define VSOC_REGION_FREE ((uint32_t)0)

struct fd_scoped_permission {
  uint32_t begin_offset;
  uint32_t end_offset;
  uint32_t owner_offset;
  uint32_t owned_value;
};

struct fd_scoped_permission_arg {
  struct fd_scoped_permission perm;
  int32_t managed_region_fd;
};

enum vsoc_wait_type {
  VSOC_WAIT_UNDEFINED = 0,
  VSOC_WAIT_IF_EQUAL = 1,
  VSOC_WAIT_IF_EQUAL_TIMEOUT = 2,
};

struct vsoc_cond_wait {
  uint32_t offset;
  uint32_t value;
  uint64_t wake_time_sec; /* absolute, CLOCK_MONOTONIC */
  uint32_t wake_time_nsec;
  uint32_t wait_type;
  uint32_t wakes; /* counted up by each wakeup, written back on every return */
  uint32_t reserved_1;
};

#define VSOC_IOCTL_TYPE 0xF5
/* Encodes 16 bytes though the argument has 20: the number is part of the ABI as it is. */
#define VSOC_CREATE_FD_SCOPED_PERMISSION _IOW(VSOC_IOCTL_TYPE, 0, struct fd_scoped_permission)
#define VSOC_GET_FD_SCOPED_PERMISSION _IOR(VSOC_IOCTL_TYPE, 1, struct fd_scoped_permission)
#define VSOC_MAYBE_SEND_INTERRUPT_TO_HOST _IO(VSOC_IOCTL_TYPE, 2)
#define VSOC_WAIT_FOR_INCOMING_INTERRUPT _IO(VSOC_IOCTL_TYPE, 3)
#define VSOC_DESCRIBE_REGION _IOR(VSOC_IOCTL_TYPE, 4, struct vsoc_device_region)
#define VSOC_SELF_INTERRUPT _IO(VSOC_IOCTL_TYPE, 5)
#define VSOC_SEND_INTERRUPT_TO_HOST _IO(VSOC_IOCTL_TYPE, 6)
#define VSOC_COND_WAIT _IOWR(VSOC_IOCTL_TYPE, 7, struct vsoc_cond_wait)
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
