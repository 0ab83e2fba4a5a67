/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "CFuseIO.h"
#include "CLinux.h"
#include "wire.h"

enum {
  /* Milliseconds between two looks at what dead threads have taken. */
  LOOK_INTERVAL = 50,
  /* For how long nothing may happen while the daemon is there still, and for how long it is served in
   * all. */
  PATIENCE = 5000,
  PATIENCE_IN_ALL = 30000,
  /* For how long clients are served that go on when the daemon has gone. */
  DRAIN = 1000,
};

int vsocfs_guard_lost_signal(void) { return SIGUSR1; }

static int64_t milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Waiting for the daemon's end: the mutex has a thread of its own. */
struct watch {
  void *lifeline;
  int event;
  int result;
};

static void *watch_lifeline(void *argument) {
  struct watch *watch = argument;
  uint64_t one = 1;
  watch->result = vsocfs_lifeline_wait(watch->lifeline);
  if (write(watch->event, &one, sizeof one) < 0) _exit(1);
  return NULL;
}

/* Takes in what the daemon has sent: false at the end. */
static bool receive_copies(int socket, int *copies) {
  int32_t number;
  int fd, result;
  while ((result = vsocfs_receive_numbered(socket, &number, &fd)) == 1) {
    if (number < 0 || number > VSOCFS_FUSE_FD_MAX) _exit(1);
    if (copies[number]) close(copies[number] - 1);
    copies[number] = fd + 1;
  }
  return result == -EAGAIN || result == -EINTR;
}

/* What serving takes. */
struct service {
  int connection;
  const int *copies;
  struct vsocfs_fuse_room room;
  /* Those of the daemon's threads. */
  const char *rooms;
  size_t room_count, room_size;
};

static void answer(struct service *service, size_t length) {
  if (!vsocfs_fuse_serve_pages(service->connection, &service->room, length, service->copies))
    vsocfs_fuse_refuse(service->connection, &service->room, -ENOTCONN);
}

/* Answers what the daemon's threads had taken and not answered: whether there was any. */
static bool take_over(struct service *service) {
  bool any = false;
  for (size_t i = 0; i < service->room_count; i++) {
    const char *other = service->rooms + i * service->room_size;
    if (!vsocfs_fuse_take_over(service->connection, &service->room, other)) continue;
    answer(service, ((const struct wire_in_header *)service->room.request)->len);
    any = true;
  }
  return any;
}

/* Serves the pages that the daemon waits for in its end, until it has gone: true. */
static bool serve(struct service *service, int process) {
  static struct vsocfs_fuse_channel channel = {.init_seen = true};
  struct pollfd waits[] = {{.fd = service->connection, .events = POLLIN},
                           {.fd = process, .events = POLLIN}};
  /* For the daemon's threads as well, which do not read any more. */
  fcntl(service->connection, F_SETFL, O_RDWR | O_NONBLOCK);
  const int64_t start = milliseconds();
  int64_t last = start, look = start, gone = 0;
  while (true) {
    int64_t now = milliseconds();
    /* Again and again: a thread may have taken another one as it was killed. */
    if (now >= look) {
      if (take_over(service)) last = now;
      look = now + LOOK_INTERVAL;
    }
    if (poll(waits, 2, (int)(look - now)) < 0) continue;
    now = milliseconds();
    if (waits[1].revents && !gone) {
      gone = now;
      take_over(service);
    }
    if (gone ? now - gone > DRAIN : now - start > PATIENCE_IN_ALL) return gone != 0;
    if (waits[0].revents) {
      ssize_t length = vsocfs_fuse_receive(&channel, service->connection, &service->room);
      if (length == 0) return true;
      if (length < 0) continue;
      last = now;
      answer(service, (size_t)length);
    } else if (gone) {
      return true;
    } else if (now - last > PATIENCE) {
      return false;
    }
  }
}

static void end_connection(const struct vsocfs_guard *guard) {
  /* The file goes with its connection, not with the number: it never means another one. */
  if (guard->abort >= 0 && write(guard->abort, "1", 1) == 1) return;
  /* Says EBUSY while somebody uses the mount, and has done it all the same. */
  if (vsocfs_mounted_device(guard->mount_point) == guard->device)
    umount2(guard->mount_point, MNT_FORCE | UMOUNT_NOFOLLOW);
}

static int compare(const void *left, const void *right) {
  return *(const int *)left - *(const int *)right;
}

/* Whatever else is open belongs to somebody who may wait for its end, and a directory to stand in would
 * keep a file system from being unmounted. */
static int keep_only(const struct vsocfs_guard *guard) {
  int kept[] = {guard->lifeline, guard->process, guard->connection, guard->abort, guard->copies};
  const size_t count = sizeof kept / sizeof *kept;
  unsigned next = 3;
  if (vsocfs_detach_standard_streams() || chdir("/")) return -1;
  qsort(kept, count, sizeof *kept, compare);
  for (size_t i = 0; i < count; i++) {
    if (kept[i] < 3) continue;
    if ((unsigned)kept[i] > next) close_range(next, (unsigned)kept[i] - 1, 0);
    next = (unsigned)kept[i] + 1;
  }
  return close_range(next, ~0u, 0);
}

_Noreturn void vsocfs_guard_run(const struct vsocfs_guard *guard) {
  struct service service = {.connection = guard->connection, .room_count = (size_t)guard->room_count};
  struct watch watch;
  pthread_t thread;
  sigset_t signals;
  sigfillset(&signals);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  prctl(PR_SET_NAME, "vsocfs-guard");
  watch.lifeline =
      mmap(NULL, VSOCFS_LIFELINE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, guard->lifeline, 0);
  /* Takes as much memory as there are numbers in it. */
  int *copies = mmap(NULL, sizeof *copies * (VSOCFS_FUSE_FD_MAX + 1), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  service.copies = copies;
  service.room_size = vsocfs_fuse_room_size((size_t)guard->payload);
  if (guard->room_count > 0)
    service.rooms =
        mmap(NULL, service.room_count * service.room_size, PROT_READ, MAP_SHARED, guard->rooms, 0);
  if (service.rooms == MAP_FAILED) _exit(1);
  if (watch.lifeline == MAP_FAILED || copies == MAP_FAILED || keep_only(guard)) _exit(1);
  watch.event = eventfd(0, EFD_CLOEXEC);
  if (watch.event < 0 || vsocfs_fuse_room_make(&service.room, (size_t)guard->payload, -1, 0))
    _exit(1);
  if (pthread_create(&thread, NULL, watch_lifeline, &watch)) _exit(1);

  struct pollfd waits[] = {{.fd = watch.event, .events = POLLIN},
                           {.fd = guard->copies, .events = POLLIN}};
  do {
    if (waits[1].revents && !receive_copies(guard->copies, copies)) waits[1].fd = -1;
    poll(waits, 2, -1);
  } while (!waits[0].revents);
  pthread_join(thread, NULL);
  if (watch.result != -EOWNERDEAD) _exit(0);

  if (waits[1].fd >= 0) receive_copies(guard->copies, copies);
  sigpending(&signals);
  bool has_all = !sigismember(&signals, vsocfs_guard_lost_signal());
  /* With the last copy of its descriptor the connection ends as well. */
  if (!has_all || guard->connection < 0 || !serve(&service, guard->process))
    end_connection(guard);
  _exit(0);
}
