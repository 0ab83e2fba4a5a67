/* SPDX-License-Identifier: Apache-2.0 */
/* Load: a peer that scribbles over everything, a ping-pong over doorbells. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vsoc_shm.h"
#include "vsocfs_ioctl.h"

static int64_t milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/* scribble MAPPING LENGTH MILLISECONDS SEED [FD]: random bytes over the first LENGTH bytes until
 * the time is over, most of them over the first 8 KiB, where the signalling is. With FD it also
 * rings, as fast as it can. The number of words written. */
static void verb_scribble(int argc, char **argv, struct reply *reply) {
  uint32_t *words = mapped(argv[1], "0");
  size_t count = (size_t)number(argv[2]) / 4;
  int64_t end = milliseconds() + number(argv[3]);
  uint64_t state = (uint64_t)number(argv[4]) | 1;
  int fd = argc > 5 ? descriptor(argv[5]) : -1;
  unsigned long long written = 0;
  while (milliseconds() < end) {
    for (int i = 0; i < 4096; i++) {
      uint64_t random = next_random(&state);
      size_t range = random & 0x300000000 ? 2048 : count;
      /* Half of the values look like offsets. */
      uint32_t value = random >> 63 ? (uint32_t)next_random(&state)
                                    : (uint32_t)(next_random(&state) % (count * 4));
      __atomic_store_n(&words[(random & 0xffffffff) % range], value, __ATOMIC_RELAXED);
      written++;
    }
    if (fd >= 0) {
      (void)ioctl(fd, VSOC_SEND_INTERRUPT_TO_HOST);
      (void)ioctl(fd, VSOC_MAYBE_SEND_INTERRUPT_TO_HOST);
      (void)ioctl(fd, VSOCFS_SIGNAL_INJECT);
    }
  }
  reply_format(reply, "%llu", written);
}

/* The next offset of a doorbell within 10 s, or -1. A ring without an offset is passed over: it is
 * what a receiver sees that took the offset before its sender came to ring. */
static int64_t next_offset(int fd) {
  struct pollfd entry = {.fd = fd, .events = POLLIN};
  int64_t offset = 0;
  while (offset == 0) {
    char line[12] = {0};
    if (poll(&entry, 1, 10000) != 1) {
      errno = ETIMEDOUT;
      return -1;
    }
    if (read(fd, line, 11) != 11) return -1;
    offset = number(strtok(line, "\n"));
  }
  return offset;
}

/* pingpong FD ROUNDS OFFSET serve|start: posts OFFSET and waits for it to come back; a server
 * waits first. Whatever comes must be OFFSET. The number of rounds. */
static void verb_pingpong(int argc, char **argv, struct reply *reply) {
  int fd = descriptor(argv[1]);
  long long rounds = number(argv[2]);
  int64_t offset = number(argv[3]);
  int serve = !strcmp(argv[4], "serve");
  char line[16];
  int length = snprintf(line, sizeof line, "0x%x\n", (unsigned)offset);
  (void)argc;
  for (long long i = 0; i < rounds; i++) {
    for (int step = 0; step < 2; step++) {
      if (step == serve) {
        if (write(fd, line, (size_t)length) != length) {
          reply_error(reply, errno);
          return;
        }
      } else {
        int64_t got = next_offset(fd);
        if (got != offset) {
          if (got < 0) {
            reply_error(reply, errno);
          } else {
            reply->failed = 1;
          }
          reply_format(reply, " round %lld got %lld", i, (long long)got);
          return;
        }
      }
    }
  }
  reply_result(reply, rounds);
}

/* drink FD MILLISECONDS: polls and reads whatever comes until the time is over; bytes read. */
static void verb_drink(int argc, char **argv, struct reply *reply) {
  struct pollfd entry = {.fd = descriptor(argv[1]), .events = POLLIN};
  int64_t end = milliseconds() + number(argv[2]);
  long long total = 0;
  char bytes[4096];
  (void)argc;
  for (int64_t now; (now = milliseconds()) < end;) {
    if (poll(&entry, 1, (int)(end - now)) != 1) continue;
    ssize_t n = read(entry.fd, bytes, sizeof bytes);
    if (n > 0) total += n;
  }
  reply_result(reply, total);
}

const struct verb stress_verbs[] = {{"scribble", 4, verb_scribble},
                                    {"pingpong", 4, verb_pingpong},
                                    {"drink", 2, verb_drink},
                                    {NULL, 0, NULL}};
