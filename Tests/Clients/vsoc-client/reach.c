/* SPDX-License-Identifier: Apache-2.0 */
/* What a descriptor reaches: every page that can be touched through it, every byte that it reads. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

static sigjmp_buf bus_exit;

static void on_bus(int number) {
  (void)number;
  siglongjmp(bus_exit, 1);
}

/* 'r' or 'w' for a page that could be read or written, 'b' for one that could not. The bytes of one
 * that could be read must all be `byte`: 'x' if not. */
static char touched(volatile char *page, int is_write, int byte) {
  struct sigaction action = {.sa_handler = on_bus, .sa_flags = SA_NODEFER}, before;
  volatile char result = 'b';
  sigaction(SIGBUS, &action, &before);
  if (!sigsetjmp(bus_exit, 1)) {
    if (is_write) {
      for (int i = 0; i < PAGE; i++) page[i] = (char)byte;
      result = 'w';
    } else {
      char other = 0;
      for (int i = 0; i < PAGE; i++) other |= page[i] ^ (char)byte;
      result = other ? 'x' : 'r';
    }
  }
  sigaction(SIGBUS, &before, NULL);
  return result;
}

/* Appends a run such as "30b". */
static void reply_run(struct reply *reply, long long count, char kind) {
  if (count) reply_format(reply, "%s%lld%c", reply->length ? " " : "", count, kind);
}

/* touch-all MAPPING LENGTH read|write BYTE: what each page of it is like, in runs. */
static void verb_touch_all(int argc, char **argv, struct reply *reply) {
  char *base = mapped(argv[1], "0"), last = 0;
  long long run = 0;
  (void)argc;
  for (long long at = 0; at < number(argv[2]); at += PAGE) {
    char kind = touched(base + at, !strcmp(argv[3], "write"), (int)number(argv[4]));
    if (kind != last) reply_run(reply, run, last), run = 0;
    last = kind;
    run++;
  }
  reply_run(reply, run, last);
}

/* touch-offsets FD LENGTH read|write BYTE: the same for a mapping of its own of each page offset; 'm'
 * for one that cannot be mapped. */
static void verb_touch_offsets(int argc, char **argv, struct reply *reply) {
  char last = 0;
  long long run = 0;
  (void)argc;
  for (long long at = 0; at < number(argv[2]); at += PAGE) {
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, (int)number(argv[1]),
                      (off_t)at);
    char kind = page == MAP_FAILED
                    ? 'm'
                    : touched(page, !strcmp(argv[3], "write"), (int)number(argv[4]));
    if (page != MAP_FAILED) munmap(page, PAGE);
    if (kind != last) reply_run(reply, run, last), run = 0;
    last = kind;
    run++;
  }
  reply_run(reply, run, last);
}

/* differ FD BYTE: how many bytes it has, and how many of them are others. */
static void verb_differ(int argc, char **argv, struct reply *reply) {
  static char bytes[1 << 16];
  long long size = 0, others = 0;
  ssize_t count;
  (void)argc;
  while ((count = pread((int)number(argv[1]), bytes, sizeof bytes, (off_t)size)) > 0) {
    for (ssize_t i = 0; i < count; i++) others += bytes[i] != (char)number(argv[2]);
    size += count;
  }
  if (count < 0) {
    reply_error(reply, errno);
    return;
  }
  reply_format(reply, "%lld %lld", size, others);
}

/* One read or write at an offset, with or without the file's position. */
static ssize_t transfer(int fd, int is_write, int is_positioned, char *bytes, size_t count,
                        off_t at) {
  if (is_positioned) return is_write ? pwrite(fd, bytes, count, at) : pread(fd, bytes, count, at);
  if (lseek(fd, at, SEEK_SET) != at) return -1;
  return is_write ? write(fd, bytes, count) : read(fd, bytes, count);
}

/* edges FD SIZE BYTE short|whole: reads and writes at every edge of an area of SIZE bytes that are all
 * BYTE, around each of its pages and far beyond. Writes across the end fail, or are `short`. The
 * number of calls, and the first one that was wrong. */
static void verb_edges(int argc, char **argv, struct reply *reply) {
  static char bytes[4 * PAGE];
  static const size_t counts[] = {1, 2, 100, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 2};
  const long long far[] = {1 << 20, 0x7ffff000, 0xfffffffc, 0x100000000, 0x7ffffffff000};
  const long long size = number(argv[2]), near = size + 4 * PAGE;
  const char byte = (char)number(argv[3]);
  const int fd = (int)number(argv[1]), may_be_short = !strcmp(argv[4], "short");
  long long calls = 0;
  (void)argc;
  for (long long i = 0; i < near / PAGE * 3 + 5; i++) {
    long long at = i < near / PAGE * 3 ? i / 3 * PAGE + i % 3 - 1 : far[i - near / PAGE * 3];
    if (at < 0) continue;
    for (size_t j = 0; j < sizeof counts / sizeof *counts * 4; j++) {
      const int is_write = j & 1, is_positioned = j & 2;
      const size_t count = counts[j / 4];
      const long long left = at < size ? size - at : 0;
      const long long fits = left < (long long)count ? left : (long long)count;
      int is_right;
      memset(bytes, is_write ? byte : byte ^ 0x55, sizeof bytes);
      errno = 0;
      ssize_t got = transfer(fd, is_write, is_positioned, bytes, count, (off_t)at);
      calls++;
      if (!is_write) {
        is_right = got == fits;
        for (ssize_t k = 0; k < got; k++) is_right &= bytes[k] == byte;
      } else if (fits == (long long)count) {
        is_right = got == fits;
      } else {
        is_right = got < 0 ? errno != 0 : may_be_short && fits > 0 && got <= fits;
      }
      if (!is_right) {
        reply->failed = 1;
        reply_format(reply, "%s of %zu at %lld: %zd (%d)", is_write ? "write" : "read", count, at,
                     got, errno);
        return;
      }
    }
  }
  reply_result(reply, calls);
}

const struct verb reach_verbs[] = {{"touch-all", 4, verb_touch_all},
                                   {"touch-offsets", 4, verb_touch_offsets},
                                   {"differ", 2, verb_differ},
                                   {"edges", 4, verb_edges},
                                   {NULL, 0, NULL}};
