/* SPDX-License-Identifier: Apache-2.0 */
/* Areas of managed regions: what it takes to have one, and those who have many. */
#define _GNU_SOURCE
#include "bench.h"
#include "CVsocABI.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { WARM_UP = 32, PAGE = 4096 };

/* Area and owner word number `index` of those that the rows use, all behind the regions' tables. */
static struct fd_scoped_permission_arg area(long index, size_t size, int fd) {
  uint32_t begin = WORD_A + (uint32_t)index * (uint32_t)size;
  return (struct fd_scoped_permission_arg){
      .perm = {.begin_offset = begin,
               .end_offset = begin + (uint32_t)size,
               .owner_offset = WORD_A + 4 * (uint32_t)index,
               .owned_value = (uint32_t)getpid()},
      .managed_region_fd = fd};
}

/* Stores to each page, by a mapping that is gone afterwards. */
static void touch(int fd, size_t size) {
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) client_fail("mmap");
  for (size_t at = 0; at < size; at += PAGE) ((volatile char *)memory)[at] = 1;
  munmap(memory, size);
}

/*
 * DATA MANAGER own|manager SIZE INDEX SAMPLES: opens, claims, maps, touches, releases and closes. It is
 * released by a call, after which the area is free and the contents are back: close(2) would not wait
 * for that. Series 0 is all of it, series 1 the claim. Claimed is by way of the handle itself, or by
 * the original call, for which the daemon looks into this process.
 */
int client_claim(int argc, char **argv) {
  (void)argc;
  int manager = open_target(argv[1], O_RDWR);
  bool asks_manager = strcmp(argv[2], "manager") == 0;
  size_t size = (size_t)number(argv[3]);
  long index = number(argv[4]), samples = number(argv[5]);
  for (long sample = -WARM_UP; sample < samples; sample++) {
    uint64_t begin = vsocfs_bench_now();
    int fd = open_target(argv[0], O_RDWR);
    struct fd_scoped_permission_arg argument = area(index, size, fd);
    uint64_t opened = vsocfs_bench_now();
    int result = asks_manager ? ioctl(manager, VSOC_CREATE_FD_SCOPED_PERMISSION, &argument)
                              : ioctl(fd, VSOCFS_CREATE_PERMISSION, &argument);
    uint64_t claimed = vsocfs_bench_now();
    if (result != 0) client_fail("claim");
    touch(fd, size);
    if (ioctl(fd, VSOCFS_RELEASE_PERMISSION) != 0) client_fail("release");
    close(fd);
    uint64_t end = vsocfs_bench_now();
    if (sample < 0) continue;
    vsocfs_bench_record(0, (double)(end - begin));
    vsocfs_bench_record(1, (double)(claimed - opened));
  }
  return 0;
}

/* SIZE SAMPLES: the same with memory that is nobody else's and comes from nowhere. */
int client_memfd(int argc, char **argv) {
  (void)argc;
  size_t size = (size_t)number(argv[0]);
  long samples = number(argv[1]);
  for (long sample = -WARM_UP; sample < samples; sample++) {
    uint64_t begin = vsocfs_bench_now();
    int fd = memfd_create("vsocfs-bench", MFD_CLOEXEC);
    if (fd < 0) client_fail("memfd_create");
    if (ftruncate(fd, (off_t)size) != 0) client_fail("ftruncate");
    touch(fd, size);
    close(fd);
    uint64_t end = vsocfs_bench_now();
    if (sample >= 0) vsocfs_bench_record(0, (double)(end - begin));
  }
  return 0;
}

/* DATA SIZE COUNT SPARED: claims that many areas but one, says so in tally 0, and has them until it is
 * ended. */
int client_hold(int argc, char **argv) {
  (void)argc;
  size_t size = (size_t)number(argv[1]);
  long count = number(argv[2]), spared = number(argv[3]);
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  for (long index = 0; index < count; index++) {
    if (index == spared) continue;
    int fd = open_target(argv[0], O_RDWR);
    struct fd_scoped_permission_arg argument = area(index, size, fd);
    if (ioctl(fd, VSOCFS_CREATE_PERMISSION, &argument) != 0) client_fail("claim %ld", index);
    touch(fd, size);
  }
  atomic_store(&board->tally[0], 1);
  for (;;) pause();
}
