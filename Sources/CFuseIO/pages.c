/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 314
#include "CFusePages.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "wire.h"

enum {
  PAGE = 4096,
  /* What stands before the payload of a request; the kernel wants two pages of room at least. */
  HEADERS = 2 * PAGE,
  STACK = 16 * PAGE,
};

#define PAGED (UINT64_C(1) << 63)
enum { FD_SHIFT = 40 };
#define HANDLE_MASK ((UINT64_C(1) << FD_SHIFT) - 1)

uint64_t vsocfs_fuse_paged_handle(uint64_t handle, int fd) {
  if (handle > HANDLE_MASK || fd < 0 || fd > VSOCFS_FUSE_FD_MAX) return 0;
  return PAGED | (uint64_t)fd << FD_SHIFT | handle;
}

uint64_t vsocfs_fuse_handle(uint64_t fh) { return fh & PAGED ? fh & HANDLE_MASK : fh; }

static size_t whole_pages(size_t size) { return (size + PAGE - 1) / PAGE * PAGE; }

static void touch_stack(void) {
  volatile char stack[STACK];
  for (size_t i = 0; i < sizeof stack; i += PAGE) stack[i] = 0;
}

size_t vsocfs_fuse_room_size(size_t payload) { return 2 * whole_pages(payload) + HEADERS; }

int vsocfs_fuse_room_make(struct vsocfs_fuse_room *room, size_t payload, int memory, size_t index) {
  size_t size = vsocfs_fuse_room_size(payload), reply_size = whole_pages(payload);
  int flags = MAP_POPULATE | (memory < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
  char *bytes =
      mmap(NULL, size, PROT_READ | PROT_WRITE, flags, memory, memory < 0 ? 0 : (off_t)(index * size));
  if (bytes == MAP_FAILED) return -errno;
  /* Beyond the limit for locked memory (ordinary users) it stays where it is unless it is swapped
   * out. */
  (void)mlock(bytes, size);
  *room = (struct vsocfs_fuse_room){.request = bytes,
                                    .reply = bytes + size - reply_size,
                                    .request_size = size - reply_size,
                                    .reply_size = reply_size};
  touch_stack();
  return 0;
}

void vsocfs_fuse_room_drop(struct vsocfs_fuse_room *room) {
  if (room->request) munmap(room->request, room->request_size + room->reply_size);
  room->request = NULL;
}

ssize_t vsocfs_fuse_receive(struct vsocfs_fuse_channel *channel, int fuse_fd,
                            struct vsocfs_fuse_room *room) {
  while (true) {
    ssize_t length = vsocfs_fuse_channel_read(fuse_fd, room->request, room->request_size, channel);
    if (length >= (ssize_t)sizeof(struct wire_in_header)) return length;
    /* ENOENT: the request went away while it was being read. */
    if (length < 0 && errno == ENOENT) continue;
    if (length < 0 && (errno == EINTR || errno == EAGAIN)) return -EINTR;
    return 0;
  }
}

static void reply(int fuse_fd, uint64_t unique, int error, void *payload, size_t size) {
  struct wire_out_header out = {
      .len = (uint32_t)(sizeof out + size), .error = error, .unique = unique};
  struct iovec parts[] = {{&out, sizeof out}, {payload, size}};
  /* It fails if the connection has ended, or the request with its caller: nobody to be told. */
  if (writev(fuse_fd, parts, size ? 2 : 1) < 0) return;
}

/* All of it, unless the file ends or fails: the number of bytes, or -errno if there are none. */
static ssize_t transfer(bool is_write, int fd, char *bytes, size_t size, uint64_t offset) {
  size_t done = 0;
  while (done < size) {
    off_t at = (off_t)(offset + done);
    ssize_t n = is_write ? pwrite(fd, bytes + done, size - done, at)
                         : pread(fd, bytes + done, size - done, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && done == 0) return -errno;
    if (n <= 0) break;
    done += (size_t)n;
  }
  return (ssize_t)done;
}

static _Atomic uint64_t written;

uint64_t vsocfs_fuse_pages_written(void) { return atomic_load_explicit(&written, memory_order_relaxed); }

_Bool vsocfs_fuse_serve_pages(int fuse_fd, struct vsocfs_fuse_room *room, size_t length,
                              const int *copies) {
  struct wire_in_header in;
  struct wire_transfer_in arguments;
  if (length < sizeof in + sizeof arguments) return false;
  memcpy(&in, room->request, sizeof in);
  if (in.opcode != WIRE_READ_OPCODE && in.opcode != WIRE_WRITE_OPCODE) return false;
  memcpy(&arguments, (char *)room->request + sizeof in, sizeof arguments);
  if (!(arguments.fh & PAGED)) return false;

  int fd = (int)(arguments.fh >> FD_SHIFT & VSOCFS_FUSE_FD_MAX);
  if (copies) fd = copies[fd] - 1;
  bool is_write = in.opcode == WIRE_WRITE_OPCODE;
  struct stat file;
  if (fstat(fd, &file) < 0) {
    reply(fuse_fd, in.unique, -errno, NULL, 0);
    return true;
  }
  uint64_t end = (uint64_t)file.st_size;
  uint64_t room_left = arguments.offset < end ? end - arguments.offset : 0;
  size_t size = arguments.size < room_left ? arguments.size : (size_t)room_left;

  if (!is_write) {
    if (size > room->reply_size) size = room->reply_size;
    ssize_t n = transfer(false, fd, room->reply, size, arguments.offset);
    reply(fuse_fd, in.unique, n < 0 ? (int)n : 0, room->reply, n < 0 ? 0 : (size_t)n);
    return true;
  }
  char *bytes = (char *)room->request + sizeof in + sizeof arguments;
  if (arguments.size > length - sizeof in - sizeof arguments) {
    reply(fuse_fd, in.unique, -EIO, NULL, 0);
  } else if (size == 0 && arguments.size > 0) {
    /* As for a sealed memfd. */
    reply(fuse_fd, in.unique, -EPERM, NULL, 0);
  } else {
    /* A part is an answer, not a failure: after a failed write the kernel takes the pages for not
     * up to date, with all that was stored to them through mappings. */
    ssize_t n = transfer(true, fd, bytes, size, arguments.offset);
    if (n > 0) atomic_fetch_add_explicit(&written, (uint64_t)n, memory_order_relaxed);
    struct wire_write_out out = {.size = n < 0 ? 0 : (uint32_t)n};
    reply(fuse_fd, in.unique, n < 0 ? (int)n : 0, &out, n < 0 ? 0 : sizeof out);
  }
  return true;
}

_Bool vsocfs_fuse_take_over(int fuse_fd, struct vsocfs_fuse_room *room, const void *other) {
  struct wire_in_header in;
  uint64_t unique;
  memcpy(&in, other, sizeof in);
  if (in.len == 0) return false;
  unique = in.unique;
  /* An answer to an interrupt of the request, which changes nothing, fails if no request of that number
   * has been read as a whole and waits. */
  const struct wire_out_header probe = {
      .len = sizeof probe, .error = -EINTR, .unique = unique | WIRE_INTERRUPT_BIT};
  if (write(fuse_fd, &probe, sizeof probe) != sizeof probe) return false;
  memcpy(&in, other, sizeof in);
  if (in.unique != unique || in.len < sizeof in || in.len > room->request_size) return false;
  memcpy(room->request, other, in.len);
  return true;
}

void vsocfs_fuse_refuse(int fuse_fd, struct vsocfs_fuse_room *room, int error) {
  struct wire_in_header in;
  memcpy(&in, room->request, sizeof in);
  switch (in.opcode) {
    case WIRE_FORGET_OPCODE:
    case WIRE_BATCH_FORGET_OPCODE:
    case WIRE_INTERRUPT_OPCODE:
    case WIRE_NOTIFY_REPLY_OPCODE: return;
    default: reply(fuse_fd, in.unique, error, NULL, 0);
  }
}

void vsocfs_fuse_process(struct fuse_session *session, void *request, size_t length) {
  struct fuse_buf buffer = {.size = length, .mem = request};
  fuse_session_process_buf(session, &buffer);
}
