/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has the kernel not take the sizes that the daemon tells, while the daemon maps what has them.
 *
 *   claim-sizes DATA write|times MILLISECONDS
 *   region-sizes DIRECTORY MILLISECONDS
 *
 * The first claims an area of a managed region, has the daemon look at it and gives it back, again and
 * again, while two threads write behind its end or set its times. The second makes regions, larger than
 * the kernel thinks, and opens them while three threads truncate them. They say how many rounds there
 * were, and in how many the daemon refused.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "areas.h"
#include "attacker.h"

static atomic_int target = -1;
static atomic_bool is_over;
static const char *kind;

static void *disturb(void *argument) {
  static const char bytes[PAGE];
  (void)argument;
  while (!is_over) {
    int fd = target;
    if (fd < 0) {
      usleep(50);
    } else if (strcmp(kind, "write") == 0) {
      if (pwrite(fd, bytes, sizeof bytes, 1 << 20) >= 0) fail("a write behind the end was taken");
    } else if (strcmp(kind, "times") == 0) {
      futimens(fd, NULL);
    } else {
      (void)!ftruncate(fd, 123);
    }
  }
  return NULL;
}

static void start(const char *what, int count) {
  kind = what;
  for (int i = 0; i < count; i++) {
    pthread_t thread;
    if ((errno = pthread_create(&thread, NULL, disturb, NULL)) ||
        (errno = pthread_detach(thread)))
      fail("thread");
  }
}

int attack_claim_sizes(int argc, char **argv) {
  (void)argc;
  int fd = open_or_fail(argv[1], O_RDWR);
  target = fd;
  start(argv[2], 2);
  long rounds = 0, refused = 0;
  for (const int64_t end = now() + number(argv[3]) * 1000000; now() < end; rounds++) {
    int error = claim(fd, 0x2000, 2, 0x2000, 7);
    if (!error && (error = look(fd, 0x3ffc)) && error != EIO) break;
    if (error == ENOTCONN || error == ECONNABORTED) {
      errno = error;
      fail("the daemon");
    }
    if (error) refused++;
    while ((error = release(fd)) == EBUSY) continue;
  }
  is_over = true;
  say("%ld %ld", rounds, refused);
  return 0;
}

int attack_region_sizes(int argc, char **argv) {
  (void)argc;
  start("truncate", 3);
  long rounds = 0, refused = 0;
  for (const int64_t end = now() + number(argv[2]) * 1000000; now() < end; rounds++) {
    char directory[4096], data[4200], peer[4200];
    snprintf(directory, sizeof directory, "%s/r%ld", argv[1], rounds);
    snprintf(data, sizeof data, "%s/data", directory);
    snprintf(peer, sizeof peer, "%s/peer/data", directory);
    if (mkdir(directory, 0700) < 0) fail("mkdir");
    int writer = open_or_fail(data, O_WRONLY);
    if (truncate(peer, 8 << 20) < 0) fail("truncate");
    target = writer;
    usleep((useconds_t)(rounds * 37 % 500));
    int fd = open(data, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
      if (errno != EAGAIN) fail("open");
      refused++;
    } else if ((errno = look(fd, (8 << 20) - 4)) && errno != EIO) {
      fail("the daemon");
    }
    target = -1;
    usleep(300);
    if (fd >= 0) close(fd);
    close(writer);
    for (int i = 0; i < 1000 && rmdir(directory) < 0; i++) usleep(1000);
  }
  is_over = true;
  say("%ld %ld", rounds, refused);
  return 0;
}
