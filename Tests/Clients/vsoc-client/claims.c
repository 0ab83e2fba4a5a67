/* SPDX-License-Identifier: Apache-2.0 */
/* Many processes that claim areas of one managed region at once. Each of them is a child of this one
 * and ends with it; what they agree upon is in memory that they share. */
#define _GNU_SOURCE
#include "claims.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEADLINE = 60000 };

int64_t claims_microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

uint64_t claims_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

void *claims_shared(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    perror("vsoc-client: mmap");
    exit(2);
  }
  return memory;
}

int claims_open(const char *directory, const char *file) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", directory, file);
  return open(path, O_RDWR | O_CLOEXEC);
}

pid_t claims_fork(void (*body)(void *, int), void *shared, int index) {
  pid_t parent = getpid(), pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  body(shared, index);
  _exit(0);
}

const char *const claim_ways[CLAIM_WAYS] = {"ioctl", "sized", "own ioctl", "own sized", "text"};

void claims_open_handle(struct handle *handle, const char *managed, int manager, int way) {
  handle->way = way;
  handle->manager = manager;
  handle->fd = claims_open(managed, way == CLAIM_TEXT ? "permissions" : "data");
}

int claims_claim(struct handle *handle, struct fd_scoped_permission permission) {
  const int is_through_manager = handle->way < 2;
  const struct fd_scoped_permission_arg argument = {
      .perm = permission, .managed_region_fd = is_through_manager ? handle->fd : -1};
  const char *way = handle->way == CLAIM_TEXT ? "text" : handle->way & 1 ? "sized" : "ioctl";
  if (handle->fd < 0) return errno ? errno : EBADF;
  int result = claim_area(way, is_through_manager ? handle->manager : handle->fd, argument);
  return result ? errno : 0;
}

/* The lines of `permissions`: their number, or -1. */
int claims_table(const char *managed, struct table_line *lines, int count) {
  char path[4096];
  int n = 0;
  snprintf(path, sizeof path, "%s/permissions", managed);
  FILE *file = fopen(path, "re");
  if (!file) return -1;
  for (char text[256]; fgets(text, sizeof text, file); n++) {
    struct table_line line;
    if (n == count ||
        sscanf(text, "0x%x 0x%x 0x%x 0x%x %d ", &line.permission.begin_offset,
               &line.permission.end_offset, &line.permission.owner_offset,
               &line.permission.owned_value, &line.pid) != 5) {
      fclose(file);
      return -1;
    }
    lines[n] = line;
  }
  fclose(file);
  return n;
}

const volatile uint32_t *claims_owner_words(const char *manager, size_t length) {
  int fd = claims_open(manager, "data");
  void *memory = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  return memory == MAP_FAILED ? NULL : memory;
}

/* Waits until no permission is left, and no word of the first `length` bytes of the manager's data is
 * taken: 0, or what is left. */
int claims_wait_until_free(const char *managed, const volatile uint32_t *words, size_t first,
                           size_t count) {
  int64_t end = claims_microseconds() + DEADLINE * 1000LL;
  while (1) {
    struct table_line line;
    int left = claims_table(managed, &line, 1);
    for (size_t i = 0; i < count && !left; i++) left = words[first / 4 + i] != 0;
    if (!left || claims_microseconds() > end) return left;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
}

/* A race for one area. */

enum { MAX_RACERS = 128 };
struct race {
  pthread_barrier_t barrier;
  const char *managed, *manager;
  struct fd_scoped_permission permission;
  uint32_t round;
  int is_over;
  int results[MAX_RACERS];
};

static uint32_t race_value(const struct race *race, int racer) {
  return race->round * 1000 + (uint32_t)racer + 1;
}

static void run_racer(void *shared, int me) {
  struct race *race = shared;
  int manager = claims_open(race->manager, "data");
  struct handle handle;
  claims_open_handle(&handle, race->managed, manager, me % CLAIM_WAYS);
  while (1) {
    pthread_barrier_wait(&race->barrier);
    if (race->is_over) _exit(0);
    struct fd_scoped_permission permission = race->permission;
    permission.owned_value = race_value(race, me);
    race->results[me] = claims_claim(&handle, permission);
    pthread_barrier_wait(&race->barrier);
    int has_won = race->results[me] == 0;
    uint32_t round = race->round;
    pthread_barrier_wait(&race->barrier);
    if (!has_won) continue;
    switch (round % 4) {
      case 0:
        close(handle.fd);
        claims_open_handle(&handle, race->managed, manager, handle.way);
        break;
      case 1: release_area("ioctl", handle.fd); break;
      case 2: raise(SIGKILL); break;
      case 3: _exit(0);
    }
  }
}

static const char *check_round(const struct race *race, const volatile uint32_t *words,
                               const pid_t *pids, int racers, int *winner, char *mistake) {
  struct table_line line;
  *winner = -1;
  for (int i = 0; i < racers; i++) {
    if (race->results[i] == 0 && *winner >= 0) return "two winners";
    if (race->results[i] == 0) *winner = i;
    if (race->results[i] && race->results[i] != EAGAIN) {
      sprintf(mistake, "%s by %s", strerrorname_np(race->results[i]), claim_ways[i % CLAIM_WAYS]);
      return mistake;
    }
  }
  if (*winner < 0) return "no winner";
  const uint32_t value = race_value(race, *winner);
  if (words[race->permission.owner_offset / 4] != value) return "another owner word";
  if (claims_table(race->managed, &line, 1) != 1) return "not one line in the table";
  if (line.permission.owned_value != value || line.pid != pids[*winner] ||
      line.permission.begin_offset != race->permission.begin_offset ||
      line.permission.end_offset != race->permission.end_offset)
    return "another line in the table";
  return NULL;
}

/* claim-race PROCESSES ROUNDS MANAGED MANAGER BEGIN END OWNER: all claim one area at once, round after
 * round. One must win, the others get EAGAIN; the winner gives it back in ways that change. The number
 * of ways that winners had claimed in (5, if all are used), or what was wrong. */
static void verb_claim_race(int argc, char **argv, struct reply *reply) {
  const int racers = (int)number(argv[1]);
  struct race *race = claims_shared(sizeof *race);
  pthread_barrierattr_t attributes;
  pid_t pids[MAX_RACERS];
  int winner = -1, has_won[CLAIM_WAYS] = {0};
  char text[64];
  const char *mistake = NULL;
  (void)argc;
  *race = (struct race){.managed = argv[3],
                        .manager = argv[4],
                        .permission = {.begin_offset = (uint32_t)number(argv[5]),
                                       .end_offset = (uint32_t)number(argv[6]),
                                       .owner_offset = (uint32_t)number(argv[7])}};
  const uint32_t owner = race->permission.owner_offset;
  const volatile uint32_t *words = claims_owner_words(race->manager, owner + 4);
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&race->barrier, &attributes, (unsigned)racers + 1);
  for (int i = 0; i < racers; i++) pids[i] = claims_fork(run_racer, race, i);
  for (race->round = 1; race->round <= number(argv[2]) && !mistake; race->round++) {
    pthread_barrier_wait(&race->barrier);
    pthread_barrier_wait(&race->barrier);
    mistake = check_round(race, words, pids, racers, &winner, text);
    if (mistake) break;
    has_won[winner % CLAIM_WAYS] = 1;
    pthread_barrier_wait(&race->barrier);
    if (race->round % 4 >= 2) {
      waitpid(pids[winner], NULL, 0);
      pids[winner] = claims_fork(run_racer, race, winner);
    }
    if (claims_wait_until_free(race->managed, words, owner, 1)) mistake = "held for ever";
  }
  if (mistake) {
    reply->failed = 1;
    reply_format(reply, "round %u: %s (%d)", race->round, mistake, winner);
    for (int i = 0; i < racers; i++) kill(pids[i], SIGKILL);
  } else {
    race->is_over = 1;
    pthread_barrier_wait(&race->barrier);
    int ways = 0;
    for (int i = 0; i < CLAIM_WAYS; i++) ways += has_won[i];
    reply_result(reply, ways);
  }
  for (int i = 0; i < racers; i++) waitpid(pids[i], NULL, 0);
}

/* Claimers that are killed. */

struct victims {
  const char *managed, *manager;
  uint64_t seed;
  _Atomic uint64_t claims;
};

struct closing {
  int fd;
  int64_t pause;
};

static void *close_later(void *argument) {
  struct closing *closing = argument;
  int64_t end = claims_microseconds() + closing->pause;
  while (claims_microseconds() < end) {
  }
  close(closing->fd);
  return NULL;
}

static void claim_for_ever(void *shared, int index) {
  struct victims *victims = shared;
  uint64_t state = victims->seed + (uint64_t)index * 0x9e3779b97f4a7c15u;
  int manager = claims_open(victims->manager, "data");
  struct handle handle;
  while (1) {
    pthread_t thread;
    struct closing closing;
    claims_open_handle(&handle, victims->managed, manager,
                       (int)(claims_random(&state) % CLAIM_WAYS));
    /* Sometimes it is closed while it gets what it is named for. */
    const int is_raced = handle.way < 2 && claims_random(&state) % 2;
    for (int i = 0; i < (is_raced ? 1 : 4); i++) {
      uint32_t page = 2 + claims_random(&state) % 8;
      struct fd_scoped_permission permission = {
          .begin_offset = page * 4096,
          .end_offset = (page + 1 + (uint32_t)(claims_random(&state) % 54)) * 4096,
          .owner_offset = 0x2000 + 4 * (uint32_t)(claims_random(&state) % 16),
          .owned_value = (uint32_t)claims_random(&state) | 1};
      if (is_raced) {
        closing = (struct closing){handle.fd, (int64_t)(claims_random(&state) % 200)};
        pthread_create(&thread, NULL, close_later, &closing);
      }
      if (claims_claim(&handle, permission) == 0) atomic_fetch_add(&victims->claims, 1);
      if (!is_raced && claims_random(&state) & 1) release_area("ioctl", handle.fd);
    }
    if (is_raced) {
      pthread_join(thread, NULL);
    } else {
      close(handle.fd);
    }
  }
}

/* kill-claimers ROUNDS PROCESSES MANAGED MANAGER SEED: processes that claim without a pause are killed
 * at random moments. Then everything must be free again: the number of claims that were granted, or
 * what is left. */
static void verb_kill_claimers(int argc, char **argv, struct reply *reply) {
  struct victims *victims = claims_shared(sizeof *victims);
  const int processes = (int)number(argv[2]);
  uint64_t state;
  pid_t pids[16];
  (void)argc;
  *victims = (struct victims){
      .managed = argv[3], .manager = argv[4], .seed = (uint64_t)number(argv[5]) | 1};
  state = victims->seed;
  for (long long round = 0; round < number(argv[1]); round++) {
    for (int i = 0; i < processes && i < 16; i++)
      pids[i] = claims_fork(claim_for_ever, victims, (int)round * 16 + i);
    for (int i = 0; i < processes && i < 16; i++) {
      /* At any moment of what they do. */
      struct timespec time = {.tv_nsec = (long)(claims_random(&state) % 4000000)};
      nanosleep(&time, NULL);
      kill(pids[i], SIGKILL);
      waitpid(pids[i], NULL, 0);
    }
  }
  const volatile uint32_t *words = claims_owner_words(victims->manager, 0x3000);
  int left = claims_wait_until_free(victims->managed, words, 0x2000, 16);
  if (left) {
    reply->failed = 1;
    reply_format(reply, "not free: %d", left);
  } else {
    reply_result(reply, (long long)atomic_load(&victims->claims));
  }
}

/* A sleeper in an area that is given back. */

struct doze {
  int fd;
  uint32_t offset;
  atomic_int returned, is_over;
  atomic_int unexpected;
};

static void *doze(void *argument) {
  struct doze *doze = argument;
  while (!atomic_load(&doze->is_over)) {
    struct vsoc_cond_wait wait = {.offset = doze->offset, .wait_type = VSOC_WAIT_IF_EQUAL};
    int error = ioctl(doze->fd, VSOC_COND_WAIT, &wait) ? errno : 0;
    if (error != ENODEV && error != E2BIG) atomic_store(&doze->unexpected, error ? error : -1);
    atomic_fetch_add(&doze->returned, 1);
  }
  return NULL;
}

/* release-race FD ROUNDS BEGIN END OWNER VALUE: a thread sleeps in the area whenever it can, while it
 * is claimed and released. No release may leave it asleep. */
static void verb_release_race(int argc, char **argv, struct reply *reply) {
  static struct doze sleeper;
  const struct fd_scoped_permission_arg argument = {
      .perm = {.begin_offset = (uint32_t)number(argv[3]),
               .end_offset = (uint32_t)number(argv[4]),
               .owner_offset = (uint32_t)number(argv[5]),
               .owned_value = (uint32_t)number(argv[6])}};
  const int64_t patience = 10000000;
  uint64_t state = 88172645463325252u;
  pthread_t thread;
  (void)argc;
  sleeper.fd = (int)number(argv[1]);
  sleeper.offset = argument.perm.begin_offset + 16;
  pthread_create(&thread, NULL, doze, &sleeper);
  for (long long round = 0; round < number(argv[2]); round++) {
    if (claim_area("sized", sleeper.fd, argument)) {
      reply_error(reply, errno);
      return;
    }
    int64_t start = claims_microseconds(), pause = (int64_t)(claims_random(&state) % 150);
    while (claims_microseconds() - start < pause) {
    }
    if (release_area("ioctl", sleeper.fd)) {
      reply_error(reply, errno);
      return;
    }
    int before = atomic_load(&sleeper.returned);
    while (atomic_load(&sleeper.returned) == before) {
      nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
      if (claims_microseconds() - start < patience) continue;
      reply->failed = 1;
      reply_format(reply, "asleep after round %lld", round);
      return;
    }
  }
  atomic_store(&sleeper.is_over, 1);
  pthread_join(thread, NULL);
  int unexpected = atomic_load(&sleeper.unexpected);
  if (unexpected) {
    reply->failed = 1;
    reply_format(reply, "%s", unexpected < 0 ? "a wakeup" : strerrorname_np(unexpected));
  } else {
    reply_result(reply, number(argv[2]));
  }
}

const struct verb claim_verbs[] = {{"claim-race", 7, verb_claim_race},
                                   {"kill-claimers", 5, verb_kill_claimers},
                                   {"claim-stress", 6, verb_claim_stress},
                                   {"release-race", 6, verb_release_race},
                                   {NULL, 0, NULL}};
