/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pins the pages of an area in a pipe, and closes it, again and again.
 *
 *   pin-areas DATA AREA MILLISECONDS
 *
 * AREA is the number of an area of 4 pages. Says how many times, and how many microseconds the longest took
 * until the area could be had again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "areas.h"
#include "attacker.h"

int attack_pin_areas(int argc, char **argv) {
  (void)argc;
  enum { PAGES = 4 };
  uint32_t area = (uint32_t)number(argv[2]);
  uint32_t begin = 0x2000 + area * PAGES * PAGE, owner = 0x2000 + 4 * area;
  int64_t worst = 0, freed = 0;
  long rounds = 0;
  for (const int64_t end = now() + number(argv[3]) * 1000000; now() < end; rounds++) {
    int fd = open_or_fail(argv[1], O_RDWR), ends[2], error;
    while ((error = claim(fd, begin, PAGES, owner, 7)) == EAGAIN) usleep(50);
    if ((errno = error)) fail("claim");
    if (freed && now() - freed > worst) worst = now() - freed;
    char *memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED || pipe2(ends, O_CLOEXEC) < 0) fail("mmap");
    memset(memory, 1, PAGES * PAGE);
    struct iovec part = {memory, PAGES * PAGE};
    if (vmsplice(ends[1], &part, 1, 0) < 0) fail("vmsplice");
    munmap(memory, PAGES * PAGE);
    close(fd);
    freed = now();
    /* Longer than it takes to find that the pages are still held. */
    usleep(20000);
    close(ends[0]);
    close(ends[1]);
  }
  say("%ld %lld", rounds, (long long)(worst / 1000));
  return 0;
}
