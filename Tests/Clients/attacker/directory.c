/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock of a directory, held for as long as a page does not come.
 *
 *   list DIRECTORY SLOWFILE    reads the directory into that page, and so holds its lock with others who read
 *   change DIRECTORY           waits to make a name there, and so keeps all who come later from it
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attacker.h"

int attack_list(int argc, char **argv) {
  (void)argc;
  int fd = open_or_fail(argv[1], O_RDONLY | O_DIRECTORY);
  char *page = slow_pages(argv[2], 2, PROT_READ | PROT_WRITE);
  say("begins");
  say("%ld", syscall(SYS_getdents64, fd, page, 8192));
  return 0;
}

int attack_change(int argc, char **argv) {
  (void)argc;
  char path[4096];
  snprintf(path, sizeof path, "%s/.attacker", argv[1]);
  say("begins");
  mkdir(path, 0700);
  return 0;
}
