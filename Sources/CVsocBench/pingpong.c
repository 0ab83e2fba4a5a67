/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes that wake each other by turns; a sample is one round trip, seen by side 0. */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WARM_UP = 32 };

static void futex_wake(_Atomic uint32_t *word) {
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void futex_await(_Atomic uint32_t *word, uint32_t value) {
  uint32_t seen;
  while ((seen = atomic_load(word)) != value) {
    syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
  }
}

/* TARGET SIDE ROUND-TRIPS */
int client_futex(int argc, char **argv) {
  (void)argc;
  char *memory = vsocfs_bench_client_map(argv[0], MAPPED_SIZE);
  long side = number(argv[1]);
  uint32_t rounds = (uint32_t)number(argv[2]) + WARM_UP;
  _Atomic uint32_t *a = (_Atomic uint32_t *)(void *)(memory + WORD_A);
  _Atomic uint32_t *b = (_Atomic uint32_t *)(void *)(memory + WORD_B);
  if (side == 0) {
    atomic_store(a, 0);
    atomic_store(b, 0);
  }
  barrier(2);
  for (uint32_t round = 1; round <= rounds; round++) {
    if (side == 1) {
      futex_await(a, round);
      atomic_store(b, round);
      futex_wake(b);
      continue;
    }
    uint64_t begin = vsocfs_bench_now();
    atomic_store(a, round);
    futex_wake(a);
    futex_await(b, round);
    uint64_t end = vsocfs_bench_now();
    if (round > WARM_UP) vsocfs_bench_record(0, (double)(end - begin));
  }
  return 0;
}

static void ring(const struct bell *bell) {
  if (write(bell->out, bell->message, bell->length) != (ssize_t)bell->length) {
    client_fail("write to the doorbell");
  }
}

void await_ring(const struct bell *bell) {
  char buffer[64];
  struct pollfd poll_in = {.fd = bell->in, .events = POLLIN};
  if (bell->polls) {
    if (poll(&poll_in, 1, -1) != 1 || !(poll_in.revents & POLLIN)) {
      client_fail("poll of the doorbell: revents %x", (unsigned)poll_in.revents);
    }
  }
  ssize_t length = read(bell->in, buffer, sizeof buffer);
  if (length <= 0) client_fail("read of the doorbell: %zd", length);
}

void ring_by_turns(const struct bell *bell, long side, long round_trips) {
  long rounds = round_trips + WARM_UP;
  barrier(2);
  for (long round = 0; round < rounds; round++) {
    if (side == 1) {
      await_ring(bell);
      ring(bell);
      continue;
    }
    uint64_t begin = vsocfs_bench_now();
    ring(bell);
    await_ring(bell);
    uint64_t end = vsocfs_bench_now();
    if (round >= WARM_UP) vsocfs_bench_record(0, (double)(end - begin));
  }
}

/* IN OUT SIDE poll|read text|bare|counter ROUND-TRIPS; IN and OUT may be the same file. */
int client_ring(int argc, char **argv) {
  (void)argc;
  static const uint64_t one = 1;
  struct bell bell = {.polls = strcmp(argv[3], "poll") == 0};
  bell.in = open_target(argv[0], O_RDWR);
  bell.out = strcmp(argv[0], argv[1]) == 0 ? bell.in : open_target(argv[1], O_RDWR);
  if (strcmp(argv[4], "counter") == 0) {
    bell.message = (const char *)&one;
    bell.length = sizeof one;
  } else {
    /* WORD_A: a table post and a drain for each ring. Bare: a ring and nothing else. */
    bell.message = strcmp(argv[4], "bare") == 0 ? "0\n" : "0x10000\n";
    bell.length = strlen(bell.message);
  }
  ring_by_turns(&bell, number(argv[2]), number(argv[5]));
  return 0;
}
