/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "CLinux.h"
#include "result.h"

int vsocfs_reopen(int fd, _Bool writable) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return or_errno(open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC));
}

int vsocfs_write_back(int fd) {
  unsigned flags =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  while (sync_file_range(fd, 0, 0, flags) < 0)
    if (errno != EINTR) return -errno;
  return 0;
}

int vsocfs_has_no_writers(int fd) {
  if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0) return -errno;
  return or_errno(fcntl(fd, F_SETLEASE, F_UNLCK));
}

int vsocfs_next_data(int fd, int64_t *start, int64_t *end) {
  off_t data = lseek(fd, *start, SEEK_DATA);
  if (data < 0) return errno == ENXIO ? 0 : -errno;
  if (data >= *end) return 0;
  off_t hole = lseek(fd, data, SEEK_HOLE);
  if (hole < 0) return -errno;
  *start = data;
  if (hole < *end) *end = hole;
  return 1;
}

/* Not copy_file_range(2): two files of a disk may share their blocks after it, so that a later store
 * through a mapping needs room that there may be none of. */
int vsocfs_copy(int from, int64_t from_offset, int to, int64_t to_offset, int64_t length) {
  if (lseek(to, to_offset, SEEK_SET) < 0) return -errno;
  while (length > 0) {
    ssize_t n = sendfile(to, from, &from_offset, (size_t)length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -errno;
    if (n == 0) return -EIO;
    length -= n;
  }
  return 0;
}

int vsocfs_punch_hole(int fd, int64_t offset, int64_t length) {
  return or_errno(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length));
}

int vsocfs_inotify_create(void) { return or_errno(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)); }

int vsocfs_inotify_watch_closes(int inotify, int fd) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return or_errno(inotify_add_watch(inotify, path, IN_CLOSE_WRITE));
}

int vsocfs_inotify_unwatch(int inotify, int watch) {
  return or_errno(inotify_rm_watch(inotify, watch));
}

int vsocfs_inotify_read(int inotify, int32_t *watches, int capacity) {
  /* Of files themselves: no event has a name. */
  struct inotify_event events[16];
  size_t most = sizeof events / sizeof *events;
  if ((size_t)capacity < most) most = (size_t)capacity;
  ssize_t n = read(inotify, events, most * sizeof *events);
  if (n < 0) return -errno;
  int count = 0;
  for (size_t i = 0; i < (size_t)n / sizeof *events; i++)
    if (events[i].mask & IN_CLOSE_WRITE) watches[count++] = events[i].wd;
  return count;
}
