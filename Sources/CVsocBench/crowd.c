/* SPDX-License-Identifier: Apache-2.0 */
/* COND_WAKE of one sleeper, and crowds of threads that sleep in ioctl(COND_WAIT) or poll(2). */
#define _GNU_SOURCE
#include "bench.h"
#include "CVsocABI.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* TARGET WAKES: sleeps on WORD_A, and tells when it came back and whether by a wake. */
int client_cond_sleeper(int argc, char **argv) {
  (void)argc;
  int fd = open_target(argv[0], O_RDWR);
  uint32_t rounds = (uint32_t)number(argv[1]);
  barrier(2);
  for (uint32_t round = 0; round < rounds; round++) {
    struct vsoc_cond_wait wait = {
        .offset = WORD_A, .value = round, .wait_type = VSOC_WAIT_IF_EQUAL};
    atomic_store(&board->turn, round + 1);
    int result = ioctl(fd, VSOC_COND_WAIT, &wait);
    uint64_t now = vsocfs_bench_now();
    if (result != 0) client_fail("COND_WAIT");
    /* No wakes: the value had changed before it could sleep. Not a sample. */
    atomic_store(&board->instant, wait.wakes == 0 ? 0 : now);
    atomic_store(&board->answer, round + 1);
  }
  return 0;
}

static void await_value(_Atomic uint32_t *word, uint32_t value) {
  while (atomic_load(word) != value) {
    if (atomic_load(&board->failed)) _exit(1);
    nap(20);
  }
}

/* TARGET WAKES: series 0 is the time from before COND_WAKE to the sleeper's return, series 1 that
 * of the call; tally 0 counts what was thrown away. */
int client_cond_waker(int argc, char **argv) {
  (void)argc;
  int fd = open_target(argv[0], O_RDWR);
  char *memory = vsocfs_bench_client_map(argv[0], MAPPED_SIZE);
  _Atomic uint32_t *word = (_Atomic uint32_t *)(void *)(memory + WORD_A);
  uint32_t rounds = (uint32_t)number(argv[1]);
  atomic_store(word, 0);
  barrier(2);
  for (uint32_t round = 0; round < rounds; round++) {
    await_value(&board->turn, round + 1);
    nap(300); /* for the call to reach the daemon and to be parked there */
    uint64_t begin = vsocfs_bench_now();
    atomic_store(word, round + 1);
    int result = ioctl(fd, VSOC_COND_WAKE, WORD_A);
    uint64_t end = vsocfs_bench_now();
    if (result < 0) client_fail("COND_WAKE");
    await_value(&board->answer, round + 1);
    uint64_t woken = atomic_load(&board->instant);
    if (woken == 0) {
      atomic_fetch_add(&board->tally[0], 1);
      continue;
    }
    vsocfs_bench_record(0, (double)(woken - begin));
    vsocfs_bench_record(1, (double)(end - begin));
  }
  return 0;
}

/* TARGET OFFSET */
int client_cond_wake_once(int argc, char **argv) {
  (void)argc;
  int fd = open_target(argv[0], O_RDWR);
  if (ioctl(fd, VSOC_COND_WAKE, (unsigned long)number(argv[1])) < 0) client_fail("COND_WAKE");
  return 0;
}

/* Tallies of a crowd, summed over its processes. */
enum { PARKED, RETURNED, WOKEN_THREADS, WAKES, CONTROL_WAKES, OTHER_ERRORS };

static struct crowd {
  bool sleeps; /* in COND_WAIT, else in poll */
  int fd;
  const char *targets[2];
  uint32_t first_offset;
} crowd;

struct member {
  pthread_t thread;
  _Atomic int tid;
  struct vsoc_cond_wait wait;
};

static void ignore(int signal) { (void)signal; }

static void *member_main(void *argument) {
  struct member *member = argument;
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, SIGUSR1);
  struct pollfd bell = {.events = POLLIN};
  if (!crowd.sleeps) {
    bell.fd = open_target(crowd.targets[member->wait.offset % 2], O_RDWR);
  }
  pthread_sigmask(SIG_UNBLOCK, &only, NULL);
  atomic_store(&member->tid, (int)syscall(SYS_gettid));
  int result = crowd.sleeps ? ioctl(crowd.fd, VSOC_COND_WAIT, &member->wait) : poll(&bell, 1, -1);
  int error = result < 0 ? errno : 0;
  atomic_fetch_add(&board->tally[RETURNED], 1);
  if (error != EINTR) atomic_fetch_add(&board->tally[OTHER_ERRORS], 1);
  return NULL;
}

/* Is the thread inside the system call, asleep? The kernel says so itself. */
static bool is_parked(int tid) {
  char path[64], text[64] = "";
  if (tid == 0) return false;
  snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0 || strncmp(text, "running", 7) == 0) return false;
  return strtol(text, NULL, 10) == (crowd.sleeps ? SYS_ioctl : SYS_poll);
}

/*
 * cond TARGET COUNT FIRST-OFFSET: COUNT threads, each asleep in COND_WAIT on a word of its own.
 * poll TARGET COUNT OTHER-TARGET: COUNT threads, each in poll(2) on a handle of its own.
 * Says on the board how many are parked, and after SIGTERM wakes them with a signal and counts
 * what they had seen.
 */
int client_crowd(int argc, char **argv) {
  (void)argc;
  size_t count = (size_t)number(argv[2]);
  struct member *members = calloc(count, sizeof *members);
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  crowd.sleeps = strcmp(argv[0], "cond") == 0;
  if (crowd.sleeps) {
    crowd.fd = open_target(argv[1], O_RDWR);
    crowd.first_offset = (uint32_t)number(argv[3]);
  }
  crowd.targets[0] = argv[1];
  crowd.targets[1] = argv[3];

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
  struct sigaction action = {.sa_handler = ignore}; /* no SA_RESTART: the call ends with EINTR */
  sigaction(SIGUSR1, &action, NULL);

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  for (size_t i = 0; i < count; i++) {
    members[i].wait.offset = crowd.first_offset + (uint32_t)(crowd.sleeps ? 4 * i : i);
    members[i].wait.wait_type = VSOC_WAIT_IF_EQUAL;
    errno = pthread_create(&members[i].thread, &attributes, member_main, &members[i]);
    if (errno) client_fail("pthread_create (%zu of %zu)", i, count);
  }
  for (size_t i = 0; i < count; i++) {
    while (!is_parked(atomic_load(&members[i].tid))) {
      if (atomic_load(&board->tally[RETURNED])) client_fail("a sleeper returned at once");
      nap(500);
    }
  }
  atomic_fetch_add(&board->tally[PARKED], (uint32_t)count);

  int received = 0;
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigwait(&stop, &received);
  if (!crowd.sleeps) _exit(0);
  for (size_t i = 0; i < count; i++) pthread_kill(members[i].thread, SIGUSR1);
  for (size_t i = 0; i < count; i++) {
    pthread_join(members[i].thread, NULL);
    uint32_t wakes = members[i].wait.wakes;
    if (wakes) atomic_fetch_add(&board->tally[WOKEN_THREADS], 1);
    atomic_fetch_add(&board->tally[WAKES], wakes);
    if (i == 0) atomic_fetch_add(&board->tally[CONTROL_WAKES], wakes);
  }
  return 0;
}
