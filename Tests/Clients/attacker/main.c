/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "attacker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const struct attack attacks[] = {
    {"victim", 2, attack_victim},
    {"park", 3, attack_park},
    {"grab", 3, attack_grab},
    {"hold-lock", 3, attack_hold_lock},
    {"claim-sizes", 3, attack_claim_sizes},
    {"region-sizes", 2, attack_region_sizes},
    {"keep-mapping", 2, attack_keep_mapping},
    {"punch", 4, attack_punch},
    {"pin-areas", 3, attack_pin_areas},
    {"nest", 3, attack_nest},
    {"idle", 2, attack_idle},
    {"flood", 2, attack_flood},
    {"list", 2, attack_list},
    {"change", 1, attack_change},
    {"bell", 1, attack_bell},
    {"reads", 3, attack_reads},
    {"cat", 1, attack_cat},
    {"slow-claims", 2, attack_slow_claims},
};

void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  /* A line of one thread as a whole. */
  flockfile(stdout);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
  fflush(stdout);
  funlockfile(stdout);
}

_Noreturn void fail(const char *what) {
  say("%s: %s", what, strerrorname_np(errno));
  exit(1);
}

int open_or_fail(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0) fail(path);
  return fd;
}

char *slow_pages(const char *path, size_t pages, int protection) {
  int fd = open_or_fail(path, O_RDONLY);
  char *memory = mmap(NULL, pages * 4096, protection, MAP_PRIVATE, fd, 4096);
  if (memory == MAP_FAILED) fail("mmap of a slow page");
  close(fd);
  return memory;
}

char *edge_of_slow_page(const char *path) {
  int fd = open_or_fail(path, O_RDONLY);
  char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED ||
      mmap(memory + 4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 4096) ==
          MAP_FAILED)
    fail("mmap of a slow page");
  close(fd);
  memory[0] = 0;
  return memory;
}

long long number(const char *text) {
  char *end;
  long long value = strtoll(text, &end, 0);
  if (*end || end == text) {
    say("%s is no number", text);
    exit(2);
  }
  return value;
}

int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int main(int argc, char **argv) {
  for (size_t i = 0; argc > 1 && i < sizeof attacks / sizeof *attacks; i++) {
    if (strcmp(attacks[i].name, argv[1]) != 0) continue;
    if (argc - 2 < attacks[i].min_arguments) break;
    return attacks[i].run(argc - 1, argv + 1);
  }
  say("no such attack, or too few arguments");
  return 2;
}
