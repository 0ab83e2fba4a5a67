/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ordinary use of a manager that is managed itself, by many threads.
 *
 *   nest MIDDLE_DATA LEAF_DATA MILLISECONDS
 *
 * Two threads claim the page of MIDDLE in which the owner words of LEAF are, four claim areas of LEAF; they
 * give them up or close them by turns. Says how many claims each had, and waits for all areas to be free.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "areas.h"
#include "attacker.h"

static const char *middle, *leaf;
static int64_t end;
static atomic_long claims[2];

static void hold(const char *path, uint32_t begin, uint32_t owner, uint32_t value, unsigned *turn) {
  int fd = open_or_fail(path, O_RDWR);
  int error = claim(fd, begin, 1, owner, value);
  errno = error;
  if (error && error != EAGAIN) fail("claim");
  if (!error) {
    claims[path == leaf]++;
    if (path == leaf && pwrite(fd, &value, sizeof value, 0) != sizeof value) fail("write");
    if (path == middle) usleep(*turn % 2000);
    *turn = *turn * 1103515245 + 12345;
    if (*turn & 0x10000 && (errno = release(fd))) fail("release");
  }
  close(fd);
}

static void *hold_middle(void *argument) {
  unsigned turn = (unsigned)(uintptr_t)argument;
  while (now() < end) hold(middle, 0x3000, 0x2000, 5, &turn);
  return NULL;
}

static void *hold_leaf(void *argument) {
  uint32_t area = (uint32_t)(uintptr_t)argument;
  unsigned turn = area;
  while (now() < end) hold(leaf, 0x2000 + area * PAGE, 0x3000 + 4 * area, 9, &turn);
  return NULL;
}

int attack_nest(int argc, char **argv) {
  (void)argc;
  middle = argv[1];
  leaf = argv[2];
  end = now() + number(argv[3]) * 1000000;
  pthread_t threads[6];
  for (uintptr_t i = 0; i < 6; i++)
    if ((errno = pthread_create(&threads[i], NULL, i < 2 ? hold_middle : hold_leaf,
                                (void *)(i < 2 ? i : i - 2))))
      fail("thread");
  for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
  say("%ld %ld", (long)claims[0], (long)claims[1]);
  const int64_t deadline = now() + INT64_C(10000000000);
  for (uint32_t area = 0; area < 4; area++) {
    int fd = open_or_fail(leaf, O_RDWR);
    while ((errno = claim(fd, 0x2000 + area * PAGE, 1, 0x3000 + 4 * area, 9))) {
      if (errno != EAGAIN || now() > deadline) fail("an area that nobody has");
      usleep(1000);
    }
    close(fd);
  }
  say("free");
  return 0;
}
