/* SPDX-License-Identifier: Apache-2.0 */
/* Random overlapping claims of several processes, compared with what must be true of them: at every
 * claim that is granted, and, of all together, at points where nobody stirs. */
#define _GNU_SOURCE
#include "claims.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  PAGE = 4096,
  FIRST_PAGE = 2, /* where the data begins */
  PAGES = 62,
  MAX_LENGTH = 8,
  FIRST_WORD = 0x2000,
  WORDS = 48,
  PROCESSES = 16,
  HANDLES = 4,
};

struct stress {
  pthread_barrier_t barrier;
  const char *managed, *manager;
  uint64_t seed;
  uint64_t attempts_between;
  long long quiet_points;
  int can_map_permissions;
  /* Who has each page: the proof that nobody else has it does not come from the daemon. */
  _Atomic uint32_t pages[FIRST_PAGE + PAGES];
  /* owned_value 0: none. */
  struct fd_scoped_permission held[PROCESSES][HANDLES];
  _Atomic uint64_t attempts, granted, refused;
  atomic_int is_wrong;
  char mistake[256];
  pid_t pids[PROCESSES];
};

struct stress_handle {
  struct handle handle;
  char *memory; /* of a mapping, otherwise read and write are used; NULL */
};

static void say_mistake(struct stress *stress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void say_mistake(struct stress *stress, const char *format, ...) {
  va_list arguments;
  if (atomic_exchange(&stress->is_wrong, 1)) return;
  va_start(arguments, format);
  vsnprintf(stress->mistake, sizeof stress->mistake, format, arguments);
  va_end(arguments);
}

static void open_stress_handle(struct stress *stress, struct stress_handle *handle, int manager,
                               int way, int is_mapped) {
  claims_open_handle(&handle->handle, stress->managed, manager, way);
  handle->memory = NULL;
  if (!is_mapped || (way == CLAIM_TEXT && !stress->can_map_permissions)) return;
  /* Before there is anything: the same mapping shows area after area. */
  void *memory = mmap(NULL, MAX_LENGTH * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                      handle->handle.fd, 0);
  if (memory == MAP_FAILED) {
    say_mistake(stress, "mmap by %s: %s", claim_ways[way], strerrorname_np(errno));
  } else {
    handle->memory = memory;
  }
}

/* Whether what a handle holds can be read and written by it. */
static int is_readable(const struct stress_handle *handle) {
  return handle->memory || handle->handle.way != CLAIM_TEXT;
}

/* A word at both ends of each page. */
static void write_pattern(struct stress *stress, struct stress_handle *handle,
                          const struct fd_scoped_permission *held) {
  if (!is_readable(handle)) return;
  for (uint32_t at = 0; at < held->end_offset - held->begin_offset; at += PAGE / 2) {
    uint32_t word = held->owned_value, to = at % PAGE ? (at / PAGE + 1) * PAGE - 4 : at;
    if (handle->memory) {
      *(volatile uint32_t *)(handle->memory + to) = word;
    } else if (pwrite(handle->handle.fd, &word, 4, to) != 4) {
      say_mistake(stress, "pwrite at 0x%x of an area: %s", to, strerrorname_np(errno));
    }
  }
}

static void check_pattern(struct stress *stress, struct stress_handle *handle,
                          const struct fd_scoped_permission *held) {
  if (!is_readable(handle)) return;
  for (uint32_t at = 0; at < held->end_offset - held->begin_offset; at += PAGE / 2) {
    uint32_t word = 0, to = at % PAGE ? (at / PAGE + 1) * PAGE - 4 : at;
    if (handle->memory) {
      word = *(volatile uint32_t *)(handle->memory + to);
    } else if (pread(handle->handle.fd, &word, 4, to) != 4) {
      say_mistake(stress, "pread at 0x%x of an area", to);
    }
    if (word != held->owned_value)
      say_mistake(stress, "0x%x where 0x%x had been written", word, held->owned_value);
  }
}

static void take_pages(struct stress *stress, const struct fd_scoped_permission *held) {
  for (uint32_t page = held->begin_offset / PAGE; page < held->end_offset / PAGE; page++) {
    uint32_t before = atomic_exchange(&stress->pages[page], held->owned_value);
    if (before)
      say_mistake(stress, "0x%x and 0x%x both have page %u", before, held->owned_value, page);
  }
}

static void leave_pages(struct stress *stress, const struct fd_scoped_permission *held) {
  for (uint32_t page = held->begin_offset / PAGE; page < held->end_offset / PAGE; page++) {
    uint32_t before = atomic_exchange(&stress->pages[page], 0);
    if (before != held->owned_value)
      say_mistake(stress, "0x%x has page %u of 0x%x", before, page, held->owned_value);
  }
}

static struct fd_scoped_permission random_claim(uint64_t *state, uint32_t value) {
  uint32_t length = 1 + claims_random(state) % MAX_LENGTH;
  uint32_t page = FIRST_PAGE + claims_random(state) % (PAGES - length + 1);
  return (struct fd_scoped_permission){
      .begin_offset = page * PAGE,
      .end_offset = (page + length) * PAGE,
      .owner_offset = FIRST_WORD + 4 * (uint32_t)(claims_random(state) % WORDS),
      .owned_value = value};
}

/* One step: an attempt to claim (1), or the end of a permission (0). */
static int step(struct stress *stress, struct stress_handle *handle,
                struct fd_scoped_permission *held, uint64_t *state, uint32_t value,
                const volatile uint32_t *words) {
  const uint64_t choice = claims_random(state) % 64;
  if (held->owned_value && choice < 48) {
    check_pattern(stress, handle, held);
    if (words[held->owner_offset / 4] != held->owned_value)
      say_mistake(stress, "an owner word is not the holder's");
    leave_pages(stress, held);
    held->owned_value = 0;
    if (choice == 0) {
      const struct handle old = handle->handle;
      if (handle->memory) munmap(handle->memory, MAX_LENGTH * PAGE);
      close(old.fd);
      open_stress_handle(stress, handle, old.manager, old.way, handle->memory != NULL);
    } else {
      const char *way = handle->handle.way == CLAIM_TEXT ? "text" : "ioctl";
      if (release_area(way, handle->handle.fd))
        say_mistake(stress, "release by %s: %s", way, strerrorname_np(errno));
    }
    return 0;
  }
  const struct fd_scoped_permission claim = random_claim(state, value);
  const int error = claims_claim(&handle->handle, claim);
  atomic_fetch_add_explicit(&stress->attempts, 1, memory_order_relaxed);
  if (held->owned_value) {
    if (error != EEXIST) say_mistake(stress, "a second permission: %s", strerrorname_np(error));
  } else if (error == 0) {
    take_pages(stress, &claim);
    if (words[claim.owner_offset / 4] != value)
      say_mistake(stress, "a granted claim's owner word is another's");
    *held = claim;
    write_pattern(stress, handle, held);
    atomic_fetch_add_explicit(&stress->granted, 1, memory_order_relaxed);
  } else if (error == EAGAIN) {
    atomic_fetch_add_explicit(&stress->refused, 1, memory_order_relaxed);
  } else {
    say_mistake(stress, "a claim by %s: %s", claim_ways[handle->handle.way],
                strerrorname_np(error));
  }
  return 1;
}

static void run_claimer(void *shared, int me) {
  struct stress *stress = shared;
  struct stress_handle handles[HANDLES];
  struct fd_scoped_permission *held = stress->held[me];
  uint64_t state = (stress->seed + (uint64_t)me) * 0x9e3779b97f4a7c15u | 1;
  uint32_t value = (uint32_t)(me + 1) << 24;
  uint64_t made = 0;
  const int manager = claims_open(stress->manager, "data");
  const volatile uint32_t *words = claims_owner_words(stress->manager, 4 * PAGE);
  for (int i = 0; i < HANDLES; i++)
    open_stress_handle(stress, &handles[i], manager, (me + i) % CLAIM_WAYS, i & 1);
  for (long long point = 0; point < stress->quiet_points; point++) {
    const uint64_t end = made + stress->attempts_between;
    while (made < end && !atomic_load(&stress->is_wrong)) {
      int chosen = (int)(claims_random(&state) % HANDLES);
      made += step(stress, &handles[chosen], &held[chosen], &state, ++value, words);
    }
    for (int i = 0; i < HANDLES; i++)
      if (held[i].owned_value) check_pattern(stress, &handles[i], &held[i]);
    pthread_barrier_wait(&stress->barrier);
    /* Here the table and the words are looked at. */
    pthread_barrier_wait(&stress->barrier);
  }
}

/* Whether the table has exactly what is held, and the words agree: NULL, or what is wrong. */
static const char *disagreement(struct stress *stress, const volatile uint32_t *words) {
  static struct table_line lines[PROCESSES * HANDLES + 1];
  uint32_t expected[WORDS] = {0};
  int holders = 0;
  const int count = claims_table(stress->managed, lines, PROCESSES * HANDLES);
  if (count < 0) return "the table";
  for (int p = 0; p < PROCESSES; p++) {
    for (int h = 0; h < HANDLES; h++) {
      const struct fd_scoped_permission *held = &stress->held[p][h];
      int found = 0;
      if (!held->owned_value) continue;
      holders++;
      expected[(held->owner_offset - FIRST_WORD) / 4] = held->owned_value;
      for (int i = 0; i < count; i++)
        found += !memcmp(&lines[i].permission, held, sizeof *held) &&
                 lines[i].pid == stress->pids[p];
      if (found != 1) return "a permission that is not in the table";
    }
  }
  if (holders != count) return "a line in the table that nobody holds";
  for (int i = 0; i < WORDS; i++)
    if (words[FIRST_WORD / 4 + i] != expected[i]) return "an owner word";
  return NULL;
}

/* What comes of one more claim is certain while nobody else stirs. */
static void predict(struct stress *stress, struct handle *handle, uint64_t *state,
                    const volatile uint32_t *words) {
  for (uint32_t i = 0; i < 40; i++) {
    const struct fd_scoped_permission claim = random_claim(state, 0xff000001 + i);
    int is_free = words[claim.owner_offset / 4] == 0;
    for (uint32_t page = claim.begin_offset / PAGE; page < claim.end_offset / PAGE; page++)
      is_free &= atomic_load(&stress->pages[page]) == 0;
    const int error = claims_claim(handle, claim);
    if (error != (is_free ? 0 : EAGAIN))
      say_mistake(stress, "%s for an area that is %s", error ? strerrorname_np(error) : "0",
                  is_free ? "free" : "not free");
    if (error == 0 && release_area("ioctl", handle->fd)) say_mistake(stress, "release");
    if (error == 0 && words[claim.owner_offset / 4] != 0)
      say_mistake(stress, "an owner word after the release");
  }
}

/* claim-stress PROCESSES ATTEMPTS POINTS MANAGED MANAGER SEED: how many attempts there were, how many
 * of them were granted and refused, and the milliseconds that they took; or what was wrong. */
void verb_claim_stress(int argc, char **argv, struct reply *reply) {
  struct stress *stress = claims_shared(sizeof *stress);
  const int processes = (int)number(argv[1]);
  pthread_barrierattr_t attributes;
  int64_t spent = 0;
  (void)argc;
  stress->managed = argv[4];
  stress->manager = argv[5];
  stress->seed = (uint64_t)number(argv[6]);
  stress->quiet_points = number(argv[3]);
  stress->attempts_between = (uint64_t)(number(argv[2]) / processes / stress->quiet_points);
  const volatile uint32_t *words = claims_owner_words(stress->manager, 4 * PAGE);
  int manager = claims_open(stress->manager, "data"), fd;
  uint64_t state = stress->seed | 1;
  struct handle own;
  claims_open_handle(&own, stress->managed, manager, 0);
  fd = claims_open(stress->managed, "permissions");
  void *memory = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
  stress->can_map_permissions = memory != MAP_FAILED;
  if (memory != MAP_FAILED) munmap(memory, PAGE);
  close(fd);
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&stress->barrier, &attributes, (unsigned)processes + 1);
  for (int i = 0; i < processes; i++) stress->pids[i] = claims_fork(run_claimer, stress, i);
  for (long long point = 0; point < stress->quiet_points; point++) {
    int64_t start = claims_microseconds();
    pthread_barrier_wait(&stress->barrier);
    spent += claims_microseconds() - start;
    /* What was closed is given back a moment later. */
    const char *wrong;
    for (int64_t end = claims_microseconds() + 10000000;
         (wrong = disagreement(stress, words)) && claims_microseconds() < end;)
      nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if (wrong) say_mistake(stress, "at quiet point %lld: %s", point, wrong);
    predict(stress, &own, &state, words);
    pthread_barrier_wait(&stress->barrier);
  }
  for (int i = 0; i < processes; i++) waitpid(stress->pids[i], NULL, 0);
  if (claims_wait_until_free(stress->managed, words, FIRST_WORD, WORDS))
    say_mistake(stress, "something is left after the end of all holders");
  if (atomic_load(&stress->is_wrong)) {
    reply->failed = 1;
    reply_format(reply, "%s", stress->mistake);
    return;
  }
  reply_format(reply, "%llu %llu %llu %lld", (unsigned long long)stress->attempts,
               (unsigned long long)stress->granted, (unsigned long long)stress->refused,
               (long long)spent / 1000);
}
