/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attacker.h"

/* Ways to read a file other than read(2): each gives the bytes that it got, or -errno. */

enum { PAGE = 4096 };

static long result(long value) { return value < 0 ? -errno : value; }

static long by_willneed(int fd, int number) {
  return -posix_fadvise(fd, (off_t)number << 22, PAGE, POSIX_FADV_WILLNEED);
}

static long by_readahead(int fd, int number) {
  return result(readahead(fd, (off_t)number << 22, PAGE));
}

static long by_splice(int fd, int number) {
  int ends[2];
  (void)number;
  if (pipe(ends)) return -errno;
  return result(splice(fd, NULL, ends[1], NULL, PAGE, 0));
}

static long by_sendfile(int fd, int number) {
  int ends[2];
  (void)number;
  if (pipe(ends)) return -errno;
  return result(sendfile(ends[1], fd, NULL, PAGE));
}

static long by_copy(int fd, int number) {
  char path[] = "/tmp/vsoc-attacker.XXXXXX";
  int to = mkstemp(path);
  (void)number;
  if (to < 0) return -errno;
  unlink(path);
  return result(copy_file_range(fd, NULL, to, NULL, PAGE, 0));
}

static long by_map(int fd, int number) {
  char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, (off_t)number * PAGE);
  if (page == MAP_FAILED) return -errno;
  /* Instead of a touch, which would be a signal. */
  return result(madvise(page, PAGE, 22 /* MADV_POPULATE_READ */));
}

static long by_aio(int fd, int number) {
  aio_context_t context = 0;
  struct iocb call = {.aio_fildes = (uint32_t)fd,
                      .aio_lio_opcode = IOCB_CMD_PREAD,
                      .aio_buf = (uint64_t)aligned_alloc(PAGE, PAGE),
                      .aio_nbytes = PAGE};
  struct iocb *calls[] = {&call};
  struct io_event event;
  (void)number;
  if (syscall(SYS_io_setup, 8, &context) < 0 || syscall(SYS_io_submit, context, 1, calls) != 1 ||
      syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1)
    return -errno;
  return (long)event.res;
}

static long by_ring(int fd, int flags) {
  struct io_uring_params params = {0};
  int ring = (int)syscall(SYS_io_uring_setup, 4, &params);
  if (ring < 0) return -errno;
  char *sq = mmap(NULL, params.sq_off.array + params.sq_entries * sizeof(unsigned),
                  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
  char *cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe),
                  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
  struct io_uring_sqe *entry = mmap(NULL, params.sq_entries * sizeof *entry, PROT_READ | PROT_WRITE,
                                    MAP_SHARED, ring, IORING_OFF_SQES);
  if (sq == MAP_FAILED || cq == MAP_FAILED || entry == MAP_FAILED) return -errno;
  *entry = (struct io_uring_sqe){.opcode = IORING_OP_READ,
                                 .flags = (uint8_t)flags,
                                 .fd = fd,
                                 .addr = (uint64_t)malloc(PAGE),
                                 .len = PAGE};
  *(unsigned *)(sq + params.sq_off.array) = 0;
  __atomic_store_n((unsigned *)(sq + params.sq_off.tail), 1, __ATOMIC_RELEASE);
  if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) return -errno;
  return ((struct io_uring_cqe *)(cq + params.cq_off.cqes))->res;
}

static long by_uring(int fd, int number) { return (void)number, by_ring(fd, 0); }
static long by_uring_async(int fd, int number) { return (void)number, by_ring(fd, IOSQE_ASYNC); }

static const struct {
  const char *name;
  long (*read)(int fd, int number);
} ways[] = {{"willneed", by_willneed}, {"readahead", by_readahead},
            {"splice", by_splice},     {"sendfile", by_sendfile},
            {"copy", by_copy},         {"map", by_map},
            {"aio", by_aio},           {"uring", by_uring},
            {"uring-async", by_uring_async}};

struct task {
  long (*read)(int fd, int number);
  int fd, number;
};

static void *run(void *argument) {
  struct task *task = argument;
  long got = task->read(task->fd, task->number);
  if (got < 0)
    say("%s", strerrorname_np((int)-got));
  else
    say("%ld", got);
  return NULL;
}

/* reads WAY PATH COUNT [nonblock|write]: that many reads of a file at once, each in a thread; says what came
 * of each, as it comes, and stays. */
int attack_reads(int argc, char **argv) {
  int count = (int)number(argv[3]);
  int flags = argc > 4 && strcmp(argv[4], "write") == 0 ? O_RDWR : O_RDONLY;
  if (argc > 4 && strcmp(argv[4], "nonblock") == 0) flags |= O_NONBLOCK;
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    if (strcmp(ways[i].name, argv[1]) != 0) continue;
    say("begins");
    for (int j = 0; j < count; j++) {
      struct task *task = malloc(sizeof *task);
      pthread_t thread;
      *task = (struct task){ways[i].read, open_or_fail(argv[2], flags), j};
      if (pthread_create(&thread, NULL, run, task)) fail("pthread_create");
    }
    say("started");
    while (1) pause();
  }
  say("no such way");
  return 2;
}

/* cat PATH: as a cat that splices, and reads where that cannot be. */
int attack_cat(int argc, char **argv) {
  char bytes[PAGE];
  int ends[2], fd = open_or_fail(argv[1], O_RDONLY);
  (void)argc;
  if (pipe(ends)) fail("pipe");
  say("begins");
  while (1) {
    ssize_t n = splice(fd, NULL, ends[1], NULL, sizeof bytes, 0);
    if (n < 0 && errno == EINVAL) n = read(fd, bytes, sizeof bytes);
    else if (n > 0) n = read(ends[0], bytes, (size_t)n);
    if (n < 0) fail("cat");
    if (n == 0) return 0;
    if (write(STDOUT_FILENO, bytes, (size_t)n) != n) fail("write");
  }
}
