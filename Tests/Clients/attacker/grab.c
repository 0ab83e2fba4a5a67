/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes as many of something as there are for it.
 *
 *   grab regions DIRECTORY COUNT    makes regions, DIRECTORY/gPID-N
 *   grab files FILE COUNT           opens a file, or a directory
 *   grab nodes FILE COUNT           keeps a file as a place only, which costs its node
 *
 * Says how many it got and which errno ended it, keeps them until its standard input ends, and then removes
 * the regions.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attacker.h"

static void region_name(char *path, size_t size, const char *directory, long number) {
  snprintf(path, size, "%s/g%d-%lx", directory, getpid() % 100000, number);
}

int attack_grab(int argc, char **argv) {
  (void)argc;
  struct rlimit limit;
  char path[4096];
  long count = number(argv[3]), got = 0;
  int error = 0, regions = strcmp(argv[1], "regions") == 0;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  for (; got < count && !error; got++) {
    region_name(path, sizeof path, argv[2], got);
    int result = regions                          ? mkdir(path, 0700)
                 : strcmp(argv[1], "nodes") == 0 ? open(argv[2], O_PATH | O_CLOEXEC)
                                                  : open(argv[2], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (result < 0) {
      error = errno;
      got--;
    }
  }
  say("%ld %s", got, error ? strerrorname_np(error) : "-");
  while (getchar() != EOF) {
  }
  for (long i = 0; regions && i < got; i++) {
    region_name(path, sizeof path, argv[2], i);
    rmdir(path);
  }
  return 0;
}
