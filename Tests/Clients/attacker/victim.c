/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Somebody who minds his own business, and times it.
 *
 *   victim DIRECTORY ROUNDS [SECONDS [PERIOD_US]]
 *
 * Rings the doorbell of a region of his own and waits for it at the other end, ROUNDS times or until
 * SECONDS are over, PERIOD_US apart. Says `ROUNDS MEAN P99 WORST`, in microseconds, at the end, and
 * `late MICROSECONDS` of each round of more than a second as it happens.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attacker.h"

static int compare(const void *left, const void *right) {
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  return (a > b) - (a < b);
}

int attack_victim(int argc, char **argv) {
  static const char ring[] = "0x2000\n";
  char path[4096], line[256];
  size_t limit = (size_t)number(argv[2]), count = 0;
  int64_t seconds = argc > 3 ? number(argv[3]) : 3600;
  int64_t period = argc > 4 ? number(argv[4]) * 1000 : 0;
  snprintf(path, sizeof path, "%s/peer/doorbell", argv[1]);
  int in = open_or_fail(path, O_RDONLY | O_NONBLOCK);
  snprintf(path, sizeof path, "%s/doorbell", argv[1]);
  int out = open_or_fail(path, O_WRONLY);
  uint32_t *times = calloc(limit, sizeof *times);
  if (!times) fail("memory");
  say("begins");
  int64_t total = 0;
  for (const int64_t start = now(); count < limit && now() - start < seconds * 1000000000; count++) {
    int64_t before = now();
    struct pollfd wait = {.fd = in, .events = POLLIN};
    if (write(out, ring, sizeof ring - 1) != sizeof ring - 1) fail("ring");
    if (poll(&wait, 1, 60000) != 1) fail("no ring within a minute");
    if (read(in, line, sizeof line) <= 0) fail("read");
    int64_t after = now(), took = (after - before) / 1000;
    if (took > 1000000) say("late %lld", (long long)took);
    times[count] = (uint32_t)took;
    total += took;
    int64_t next = before + period - after;
    struct timespec pause = {.tv_sec = next / 1000000000, .tv_nsec = next % 1000000000};
    if (next > 0) nanosleep(&pause, NULL);
  }
  if (count == 0) return 1;
  qsort(times, count, sizeof *times, compare);
  say("%zu %lld %u %u", count, (long long)(total / (int64_t)count), times[count - 1 - count / 100],
      times[count - 1]);
  return 0;
}
