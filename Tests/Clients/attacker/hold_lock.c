/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds the lock of a file of a mount for as long as it lives.
 *
 *   hold-lock FILE SLOW_PAGE OFFSET
 *
 * A write(2) whose bytes do not come keeps it. Says `writes` before.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attacker.h"

int attack_hold_lock(int argc, char **argv) {
  (void)argc;
  int fd = open_or_fail(argv[1], O_RDWR);
  char *page = slow_pages(argv[2], 1, PROT_READ);
  say("writes");
  ssize_t written = pwrite(fd, page, 4096, (off_t)number(argv[3]));
  say("wrote %zd", written);
  return 0;
}
