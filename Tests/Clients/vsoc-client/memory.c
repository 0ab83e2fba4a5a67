/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings of `data`, and futexes in them. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MAX_MAPPINGS = 16 };
static struct {
  char *base;
  size_t length;
} mappings[MAX_MAPPINGS];

void *mapped(const char *id, const char *offset) {
  long long index = number(id);
  long long at = number(offset);
  if (index < 0 || index >= MAX_MAPPINGS || !mappings[index].base || at < 0 ||
      (unsigned long long)at + 4 > mappings[index].length) {
    fprintf(stderr, "vsoc-client: mapping %s has no word at %s\n", id, offset);
    exit(2);
  }
  return mappings[index].base + at;
}

/* map FD LENGTH [OFFSET] [ro]: the mapping's id. */
static void verb_map(int argc, char **argv, struct reply *reply) {
  int protection = PROT_READ | (argc > 4 ? 0 : PROT_WRITE);
  int id = 0;
  while (id < MAX_MAPPINGS - 1 && mappings[id].base) id++;
  size_t length = (size_t)number(argv[2]);
  void *base = mmap(NULL, length, protection, MAP_SHARED, descriptor(argv[1]),
                    argc > 3 ? (off_t)number(argv[3]) : 0);
  if (base == MAP_FAILED) {
    reply_error(reply, errno);
    return;
  }
  mappings[id].base = base;
  mappings[id].length = length;
  reply_format(reply, "%d", id);
}

static void verb_unmap(int argc, char **argv, struct reply *reply) {
  (void)argc;
  void *base = mapped(argv[1], "0");
  int id = (int)number(argv[1]);
  int result = munmap(base, mappings[id].length);
  mappings[id].base = NULL;
  reply_result(reply, result);
}

static void verb_load(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, __atomic_load_n((uint32_t *)mapped(argv[1], argv[2]), __ATOMIC_SEQ_CST));
}

static void verb_store(int argc, char **argv, struct reply *reply) {
  (void)argc;
  __atomic_store_n((uint32_t *)mapped(argv[1], argv[2]), (uint32_t)number(argv[3]),
                   __ATOMIC_SEQ_CST);
  reply_result(reply, 0);
}

/* exchange MAPPING OFFSET VALUE: the old value. */
static void verb_exchange(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, __atomic_exchange_n((uint32_t *)mapped(argv[1], argv[2]),
                                          (uint32_t)number(argv[3]), __ATOMIC_SEQ_CST));
}

/* peek MAPPING OFFSET COUNT: bytes in hexadecimal. */
static void verb_peek(int argc, char **argv, struct reply *reply) {
  (void)argc;
  const unsigned char *at = mapped(argv[1], argv[2]);
  for (long long i = 0; i < number(argv[3]); i++) reply_format(reply, "%02x", at[i]);
}

/* futex-wait MAPPING OFFSET VALUE: 0 when woken. */
static void verb_futex_wait(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, syscall(SYS_futex, mapped(argv[1], argv[2]), FUTEX_WAIT,
                              (uint32_t)number(argv[3]), NULL, NULL, 0));
}

/* futex-wake MAPPING OFFSET [COUNT]: the number woken. */
static void verb_futex_wake(int argc, char **argv, struct reply *reply) {
  int count = argc > 3 ? (int)number(argv[3]) : 0x7fffffff;
  reply_result(reply, syscall(SYS_futex, mapped(argv[1], argv[2]), FUTEX_WAKE, count, NULL, NULL,
                              0));
}

/* monotonic: CLOCK_MONOTONIC in nanoseconds. */
static void verb_monotonic(int argc, char **argv, struct reply *reply) {
  struct timespec now;
  (void)argc, (void)argv;
  clock_gettime(CLOCK_MONOTONIC, &now);
  reply_format(reply, "%lld", now.tv_sec * 1000000000LL + now.tv_nsec);
}

const struct verb memory_verbs[] = {{"map", 2, verb_map},
                                    {"unmap", 1, verb_unmap},
                                    {"load", 2, verb_load},
                                    {"store", 3, verb_store},
                                    {"exchange", 3, verb_exchange},
                                    {"peek", 3, verb_peek},
                                    {"futex-wait", 3, verb_futex_wait},
                                    {"futex-wake", 2, verb_futex_wake},
                                    {"monotonic", 0, verb_monotonic},
                                    {NULL, 0, NULL}};
