/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof(pthread_mutex_t) <= VSOCFS_LIFELINE_SIZE, "the mutex has a page");

void vsocfs_lifeline_init(void *lifeline) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(lifeline, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

void vsocfs_lifeline_hold(void *lifeline) { pthread_mutex_lock(lifeline); }

void vsocfs_lifeline_let_go(void *lifeline) { pthread_mutex_unlock(lifeline); }

int vsocfs_lifeline_wait(void *lifeline) {
  int error = pthread_mutex_lock(lifeline);
  if (error == EOWNERDEAD) pthread_mutex_consistent(lifeline);
  if (error == 0 || error == EOWNERDEAD) pthread_mutex_unlock(lifeline);
  return -error;
}

int vsocfs_refuse_core_dumps(void) { return prctl(PR_SET_DUMPABLE, 0) ? -errno : 0; }

int vsocfs_device_of(int place) {
  struct statx status;
  if (statx(place, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &status)) return -errno;
  return status.stx_dev_major == 0 ? (int)status.stx_dev_minor : -ENODEV;
}

/* Without O_DIRECTORY: where the mount has gone from the place of an automount, that would ask for
 * another one. */
static int open_place(const char *directory) {
  int place = open(directory, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  return place < 0 ? -errno : place;
}

int vsocfs_mounted_device(const char *directory) {
  int place = open_place(directory);
  if (place < 0) return place;
  int result = vsocfs_device_of(place);
  close(place);
  return result;
}

int vsocfs_open_mounted(const char *directory, int device, const char *path) {
  int place = open_place(directory);
  if (place < 0) return place;
  int result = vsocfs_device_of(place) == device ? openat(place, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC)
                                          : (errno = ENODEV, -1);
  if (result < 0) result = -errno;
  close(place);
  return result;
}
