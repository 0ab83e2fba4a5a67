/* SPDX-License-Identifier: Apache-2.0 */
/* What every client does before and after its loop. */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct vsocfs_bench_board *board;

uint64_t vsocfs_bench_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time); /* the vDSO: no system call */
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void client_fail(const char *format, ...) {
  int error = errno;
  char text[200];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (board && atomic_exchange(&board->failed, 1) == 0) {
    snprintf(board->error, sizeof board->error, error ? "%s: %s" : "%s", text, strerror(error));
  }
  _exit(1);
}

int open_target(const char *target, int flags) {
  if (strncmp(target, "fd:", 3) == 0) return (int)number(target + 3);
  int fd = open(target, flags | O_CLOEXEC);
  if (fd < 0) client_fail("open %s", target);
  return fd;
}

void *vsocfs_bench_client_map(const char *target, size_t size) {
  int fd = open_target(target, O_RDWR);
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) client_fail("mmap %s", target);
  return memory;
}

void vsocfs_bench_record(int series, double nanoseconds) {
  uint32_t at = atomic_load_explicit(&board->count[series], memory_order_relaxed);
  if (at >= VSOCFS_BENCH_SAMPLES) return;
  board->samples[series][at] = nanoseconds;
  atomic_store_explicit(&board->count[series], at + 1, memory_order_relaxed);
}

void nap(long microseconds) {
  struct timespec time = {.tv_sec = microseconds / 1000000,
                          .tv_nsec = microseconds % 1000000 * 1000};
  nanosleep(&time, NULL);
}

long number(const char *text) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 0);
  if (errno || *end || end == text) client_fail("bad number '%s'", text);
  return value;
}

void barrier(uint32_t count) {
  atomic_fetch_add(&board->arrived, 1);
  while (atomic_load(&board->arrived) < count) {
    if (atomic_load(&board->failed)) _exit(1);
    nap(50);
  }
}

int confine(int tid, int index) {
  cpu_set_t allowed, set;
  /* Only those that are allowed are counted: a container may have any two. */
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return -errno;
  index %= CPU_COUNT(&allowed);
  for (int at = 0; at < CPU_SETSIZE; at++) {
    if (!CPU_ISSET(at, &allowed) || index-- > 0) continue;
    CPU_ZERO(&set);
    CPU_SET(at, &set);
    return sched_setaffinity(tid, sizeof set, &set) != 0 ? -errno : 0;
  }
  return -EINVAL;
}

char **vsocfs_bench_client_begin(int *argc, char **argv) {
  if (*argc < 5) _exit(64);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  board = vsocfs_bench_board_map(VSOCFS_BENCH_BOARD_FD);
  if (!board) _exit(64);
  /* The last line of defence against a wakeup that never comes; the driver has its own. */
  alarm((unsigned)number(argv[4]));
  int cpu = (int)number(argv[3]);
  if (cpu >= 0 && confine(0, cpu) != 0) client_fail("sched_setaffinity");
  *argc -= 5;
  return argv + 5;
}

void vsocfs_bench_forbid_system_calls(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    client_fail("seccomp");
  }
}

void vsocfs_bench_exit(int status) { _exit(status); }

/* exec with a death signal, which survives it: no daemon outlives the benchmark. */
static int launch(char **argv) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  execv(argv[0], argv);
  fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
  return 127;
}

int vsocfs_bench_subcommand(int argc, char **argv) {
  static const struct {
    const char *kind;
    int (*run)(int argc, char **argv);
    int arguments;
  } kinds[] = {
      {"touch", client_touch, 2},
      {"load", client_load, 2},
      {"sync", client_sync, 4},
      {"stream", client_stream, 4},
      {"transfer", client_transfer, 5},
      {"exchange", client_exchange, 2},
      {"futex", client_futex, 3},
      {"ring", client_ring, 6},
      {"ioctl", client_ioctl, 3},
      {"open", client_open, 3},
      {"cond-sleeper", client_cond_sleeper, 2},
      {"cond-waker", client_cond_waker, 2},
      {"cond-wake-once", client_cond_wake_once, 2},
      {"crowd", client_crowd, 4},
      {"claim", client_claim, 6},
      {"memfd", client_memfd, 2},
      {"hold", client_hold, 4},
      {"listen", client_listen, 2},
      {"ring-eventfd", client_ring_eventfd, 2},
      {"ring-host", client_ring_host, 3},
      {"ring-qemu", client_ring_qemu, 5},
      {"vm", client_vm, 2},
  };
  if (argc >= 3 && strcmp(argv[1], "launch") == 0) return launch(argv + 2);
  if (argc >= 4 && strcmp(argv[1], "baseline") == 0) return baseline_daemon(argc - 2, argv + 2);
  if (argc < 3 || strcmp(argv[1], "client") != 0) return -1;
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    if (strcmp(argv[2], kinds[i].kind) != 0) continue;
    argv = vsocfs_bench_client_begin(&argc, argv);
    errno = 0;
    if (argc != kinds[i].arguments) client_fail("%s: wrong arguments", kinds[i].kind);
    return kinds[i].run(argc, argv);
  }
  return -1;
}
