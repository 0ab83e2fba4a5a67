/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 314
#include "CFuseIO.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "wire.h"

enum { INIT_OUT_FLAGS = 12, INIT_OUT_FLAGS2 = 32, INIT_OUT_STACK_DEPTH = 36, INIT_OUT_END = 40 };
#define WIRE_MAJOR 7
#define WIRE_INIT_EXT (1u << 30)
#define WIRE_PASSTHROUGH_FLAGS2 (1u << 5) /* bit 37 of the 64-bit flags */

/* The rest of what was noted stands before this is set. */
static bool init_seen(const struct vsocfs_fuse_channel *channel) {
  return __atomic_load_n(&channel->init_seen, __ATOMIC_ACQUIRE);
}

static void note_init(struct vsocfs_fuse_channel *channel, const void *buf, size_t len) {
  struct wire_in_header in;
  struct wire_init_in init;
  if (init_seen(channel) || len < sizeof in) return;
  memcpy(&in, buf, sizeof in);
  if (in.opcode != WIRE_INIT_OPCODE) return;
  memset(&init, 0, sizeof init);
  size_t body = len - sizeof in;
  memcpy(&init, (const char *)buf + sizeof in, body < sizeof init ? body : sizeof init);
  /* A newer kernel is told the version, and asks again. */
  if (init.major != WIRE_MAJOR) return;
  channel->init_unique = in.unique;
  channel->kernel_minor = init.minor;
  channel->init_flags = init.flags;
  if (init.flags & WIRE_INIT_EXT) channel->init_flags |= (uint64_t)init.flags2 << 32;
  __atomic_store_n(&channel->init_seen, true, __ATOMIC_RELEASE);
}

ssize_t vsocfs_fuse_channel_read(int fd, void *buf, size_t len, void *userdata) {
  ssize_t n = read(fd, buf, len);
  if (n > 0) note_init(userdata, buf, (size_t)n);
  /* The connection was aborted in the middle of a read: its end like any other, of which libfuse
   * would complain on stderr. */
  if (n < 0 && errno == ECONNABORTED) errno = ENODEV;
  /* The other end of a socket closed. */
  if (n == 0) {
    errno = ENODEV;
    return -1;
  }
  return n;
}

static void or_word(unsigned char *at, uint32_t bits) {
  uint32_t word;
  memcpy(&word, at, sizeof word);
  word |= bits;
  memcpy(at, &word, sizeof word);
}

/* Passthrough has to be asked for in the INIT reply; OR-ing is harmless where libfuse did it. */
static void ask_for_passthrough(struct vsocfs_fuse_channel *channel, struct iovec *iov, int count) {
  struct wire_out_header out;
  if (!vsocfs_fuse_passthrough_offered(channel)) return;
  if (vsocfs_fuse_passthrough_granted(channel)) return;
  if (count < 2 || iov[0].iov_len < sizeof out || iov[1].iov_len < INIT_OUT_END) return;
  memcpy(&out, iov[0].iov_base, sizeof out);
  if (out.unique != channel->init_unique || out.error != 0) return;
  unsigned char *init = iov[1].iov_base;
  const uint32_t one = 1;
  or_word(init + INIT_OUT_FLAGS, WIRE_INIT_EXT);
  or_word(init + INIT_OUT_FLAGS2, WIRE_PASSTHROUGH_FLAGS2);
  memcpy(init + INIT_OUT_STACK_DEPTH, &one, sizeof one);
  __atomic_store_n(&channel->passthrough_granted, true, __ATOMIC_RELEASE);
}

bool vsocfs_fuse_passthrough_offered(const struct vsocfs_fuse_channel *channel) {
  return channel->want_passthrough && init_seen(channel) &&
         channel->init_flags & ((uint64_t)WIRE_PASSTHROUGH_FLAGS2 << 32);
}

bool vsocfs_fuse_passthrough_granted(const struct vsocfs_fuse_channel *channel) {
  return __atomic_load_n(&channel->passthrough_granted, __ATOMIC_ACQUIRE);
}

static ssize_t channel_writev(int fd, struct iovec *iov, int count, void *userdata) {
  ask_for_passthrough(userdata, iov, count);
  return writev(fd, iov, count);
}

struct fuse_session *vsocfs_fuse_session_new(int argc, char **argv,
                                             const struct fuse_lowlevel_ops *ops,
                                             struct vsocfs_fuse_channel *channel) {
  struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
  struct fuse_session *session = fuse_session_new(&args, ops, sizeof *ops, channel);
  fuse_opt_free_args(&args);
  return session;
}

int vsocfs_fuse_session_attach(struct fuse_session *session, int fd) {
  static const struct fuse_custom_io io = {.writev = channel_writev, .read = vsocfs_fuse_channel_read};
  return fuse_session_custom_io(session, &io, fd);
}

/* Atomic, as one session may be made while another one logs. */
static void (*log_sink)(int level, const char *line);

static void log_line(enum fuse_log_level level, const char *format, va_list arguments) {
  char line[512];
  void (*sink)(int level, const char *line) = __atomic_load_n(&log_sink, __ATOMIC_ACQUIRE);
  int length = vsnprintf(line, sizeof line, format, arguments);
  if (length < 0 || !sink) return;
  line[strcspn(line, "\n")] = '\0';
  sink((int)level, line);
}

void vsocfs_fuse_set_log(void (*sink)(int level, const char *line)) {
  __atomic_store_n(&log_sink, sink, __ATOMIC_RELEASE);
  fuse_set_log_func(log_line);
}

struct wire_backing_map {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
#define WIRE_BACKING_OPEN _IOW(229, 1, struct wire_backing_map)
#define WIRE_BACKING_CLOSE _IOW(229, 2, uint32_t)

int32_t vsocfs_fuse_backing_open(int fuse_fd, int fd) {
  struct wire_backing_map map = {.fd = fd};
  int id = ioctl(fuse_fd, WIRE_BACKING_OPEN, &map);
  return id < 0 ? -errno : id;
}

int vsocfs_fuse_backing_close(int fuse_fd, int32_t backing_id) {
  uint32_t id = (uint32_t)backing_id;
  return ioctl(fuse_fd, WIRE_BACKING_CLOSE, &id) < 0 ? -errno : 0;
}
