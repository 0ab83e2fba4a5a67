/* SPDX-License-Identifier: Apache-2.0 */
/* The wire structures as far as they are looked at here (kernel header linux/fuse.h; restated
 * because Debian 12's copy of it does not have the passthrough fields yet). */
#ifndef VSOCFS_WIRE_H
#define VSOCFS_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
  WIRE_FORGET_OPCODE = 2,
  WIRE_READ_OPCODE = 15,
  WIRE_WRITE_OPCODE = 16,
  WIRE_INIT_OPCODE = 26,
  WIRE_INTERRUPT_OPCODE = 36,
  WIRE_NOTIFY_REPLY_OPCODE = 41,
  WIRE_BATCH_FORGET_OPCODE = 42,
};

/* In the number of an interrupt, beside that of the request. */
enum { WIRE_INTERRUPT_BIT = 1 };

struct wire_in_header {
  uint32_t len;
  uint32_t opcode;
  uint64_t unique;
  uint64_t nodeid;
  uint32_t uid, gid, pid, padding;
};

struct wire_out_header {
  uint32_t len;
  int32_t error;
  uint64_t unique;
};

struct wire_init_in {
  uint32_t major, minor, max_readahead, flags, flags2;
};

/* READ and WRITE alike. */
struct wire_transfer_in {
  uint64_t fh;
  uint64_t offset;
  uint32_t size;
  uint32_t transfer_flags;
  uint64_t lock_owner;
  uint32_t flags;
  uint32_t padding;
};

struct wire_write_out {
  uint32_t size;
  uint32_t padding;
};

struct vsocfs_fuse_channel;

/* read(2) of a request, as io.c does it for libfuse too. */
ssize_t vsocfs_fuse_channel_read(int fd, void *buf, size_t len, void *channel);

#endif
