/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads that wait: COND_WAIT sleepers at many offsets, pollers of one file. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vsoc_shm.h"
#include "vsocfs_ioctl.h"

struct sleeper {
  int fd;
  uint32_t offset;
};

static atomic_uint returned, failed, woken;

static int start_thread(void *(*body)(void *), void *argument) {
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  return pthread_create(&thread, &attributes, body, argument);
}

static void *sleep_at(void *argument) {
  struct sleeper *sleeper = argument;
  struct vsoc_cond_wait wait = {.offset = sleeper->offset, .wait_type = VSOC_WAIT_IF_EQUAL};
  if (ioctl(sleeper->fd, VSOC_COND_WAIT, &wait)) atomic_fetch_add(&failed, 1);
  atomic_fetch_add(&woken, wait.wakes);
  atomic_fetch_add(&returned, 1);
  return NULL;
}

/* sleepers FD COUNT FIRST STRIDE: COND_WAITs for the value 0, each at an offset of its own. */
static void verb_sleepers(int argc, char **argv, struct reply *reply) {
  long long count = number(argv[2]);
  (void)argc;
  for (long long i = 0; i < count; i++) {
    struct sleeper *sleeper = malloc(sizeof *sleeper);
    sleeper->fd = descriptor(argv[1]);
    sleeper->offset = (uint32_t)(number(argv[3]) + i * number(argv[4]));
    int error = start_thread(sleep_at, sleeper);
    if (error) {
      reply_error(reply, error);
      return;
    }
  }
  reply_result(reply, count);
}

static void *poll_forever(void *argument) {
  struct pollfd entry = {.fd = *(int *)argument, .events = POLLIN};
  if (poll(&entry, 1, -1) != 1 || !(entry.revents & POLLIN)) atomic_fetch_add(&failed, 1);
  atomic_fetch_add(&returned, 1);
  return NULL;
}

/* pollers PATH COUNT: each with a descriptor and a thread of its own. */
static void verb_pollers(int argc, char **argv, struct reply *reply) {
  struct rlimit limit;
  (void)argc;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  for (long long i = 0; i < number(argv[2]); i++) {
    int *fd = malloc(sizeof *fd);
    *fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    int error = *fd < 0 ? errno : start_thread(poll_forever, fd);
    if (error) {
      reply_error(reply, error);
      return;
    }
  }
  reply_result(reply, number(argv[2]));
}

/* crowd: how many have returned, how many of them with an error, the sum of their `wakes`. */
static void verb_crowd(int argc, char **argv, struct reply *reply) {
  (void)argc, (void)argv;
  unsigned done = atomic_load(&returned);
  reply_format(reply, "%u %u %u", done, atomic_load(&failed), atomic_load(&woken));
}

const struct verb crowd_verbs[] = {{"sleepers", 4, verb_sleepers},
                                   {"pollers", 2, verb_pollers},
                                   {"crowd", 0, verb_crowd},
                                   {NULL, 0, NULL}};
