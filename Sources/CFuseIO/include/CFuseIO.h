/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VSOCFS_CFUSEIO_H
#define VSOCFS_CFUSEIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct fuse_session;
struct fuse_lowlevel_ops;

/*
 * What libfuse hands back to every callback of a session as its userdata.
 *
 * The I/O callbacks of fuse_session_custom_io are C, because libfuse may cancel the thread that
 * runs them and a cancellation must not unwind Swift frames; and because they patch the INIT
 * reply, which libfuse 3.14 cannot do (it does not know passthrough).
 */
struct vsocfs_fuse_channel {
  /* The owner, for the Swift callbacks. */
  void *owner;
  /* Ask the kernel for FUSE_PASSTHROUGH if it offers it. */
  bool want_passthrough;
  /* Written by a worker, read by others: see vsocfs_fuse_passthrough_granted. */
  bool passthrough_granted;
  bool init_seen;
  uint64_t init_unique;
  uint64_t init_flags;
  /* The protocol minor version of the kernel. */
  uint32_t kernel_minor;
  /* The most bytes that a request or a reply carries, as agreed on. */
  uint32_t max_payload;
};

/* fuse_session_new: an inline wrapper of another symbol since libfuse 3.17, which Swift cannot
 * name. `argc`/`argv` as for a program, argv[0] included. */
struct fuse_session *vsocfs_fuse_session_new(int argc, char **argv,
                                             const struct fuse_lowlevel_ops *ops,
                                             struct vsocfs_fuse_channel *channel);

/* Routes the session's I/O on `fd` through the callbacks described above. 0 or -errno. */
int vsocfs_fuse_session_attach(struct fuse_session *session, int fd);

/* Sends what libfuse has to say to `sink` (one line, no newline) instead of stderr: fuse_log's
 * callback takes a va_list, which Swift cannot receive. */
void vsocfs_fuse_set_log(void (*sink)(int level, const char *line));

/* Whether the kernel that sent INIT offers passthrough, and it is wanted. */
bool vsocfs_fuse_passthrough_offered(const struct vsocfs_fuse_channel *channel);

/* Whether passthrough was agreed on; known once a request after INIT has been answered. What orders
 * the two is the kernel, which no compiler and no sanitizer knows: hence atomic. */
bool vsocfs_fuse_passthrough_granted(const struct vsocfs_fuse_channel *channel);

/* Registers `fd` as a backing file of the connection: a positive backing id, or -errno. */
int32_t vsocfs_fuse_backing_open(int fuse_fd, int fd);

/* Gives a backing id back: 0 or -errno. */
int vsocfs_fuse_backing_close(int fuse_fd, int32_t backing_id);

/* The reply to OPEN, complete: libfuse 3.14 has no field for a backing id nor for streams. */
struct vsocfs_fuse_open_out {
  uint64_t fh;
  uint32_t open_flags;
  int32_t backing_id;
};

enum {
  VSOCFS_FOPEN_DIRECT_IO = 1 << 0,
  VSOCFS_FOPEN_KEEP_CACHE = 1 << 1,
  VSOCFS_FOPEN_NONSEEKABLE = 1 << 2,
  VSOCFS_FOPEN_STREAM = 1 << 4,
  VSOCFS_FOPEN_NOFLUSH = 1 << 5,
  VSOCFS_FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6,
  VSOCFS_FOPEN_PASSTHROUGH = 1 << 7,
};

#include "CFuseGuard.h"
#include "CFusePages.h"

#endif
