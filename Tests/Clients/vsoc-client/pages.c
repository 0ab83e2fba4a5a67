/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of `data` under load, and records that must outlive a daemon. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, RECORD = 64, SLOTS = 65536 };

static int64_t milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static uint64_t mixed(uint64_t value) {
  value ^= value >> 30;
  value *= 0xbf58476d1ce4e5b9u;
  value ^= value >> 27;
  value *= 0x94d049bb133111ebu;
  return value ^ value >> 31;
}

/* A page that cannot be had ends what touched it, not the program. */
static _Thread_local sigjmp_buf bus_exit;
static _Thread_local int bus_is_expected;

static void on_bus(int number) {
  if (!bus_is_expected) {
    signal(number, SIG_DFL);
    raise(number);
    return;
  }
  siglongjmp(bus_exit, 1);
}

static void expect_bus(void) {
  struct sigaction action = {.sa_handler = on_bus, .sa_flags = SA_NODEFER};
  sigaction(SIGBUS, &action, NULL);
  bus_is_expected = 1;
}

/* sow MAPPING OFFSET LENGTH SEED: a value of its own to each word. */
static void verb_sow(int argc, char **argv, struct reply *reply) {
  uint32_t *words = mapped(argv[1], argv[2]);
  size_t count = (size_t)number(argv[3]) / 4;
  uint64_t seed = (uint64_t)number(argv[4]);
  (void)argc;
  for (size_t i = 0; i < count; i++) words[i] = (uint32_t)mixed(seed << 32 | i);
  reply_result(reply, 0);
}

/* reap MAPPING OFFSET LENGTH SEED: how many words are not what was sown. */
static void verb_reap(int argc, char **argv, struct reply *reply) {
  uint32_t *words = mapped(argv[1], argv[2]);
  size_t count = (size_t)number(argv[3]) / 4;
  uint64_t seed = (uint64_t)number(argv[4]);
  long long wrong = 0;
  (void)argc;
  for (size_t i = 0; i < count; i++) wrong += words[i] != (uint32_t)mixed(seed << 32 | i);
  reply_result(reply, wrong);
}

/* sync MAPPING OFFSET: msync(2) of the page there. */
static void verb_sync(int argc, char **argv, struct reply *reply) {
  (void)argc;
  uintptr_t at = (uintptr_t)mapped(argv[1], argv[2]) / PAGE * PAGE;
  reply_result(reply, msync((void *)at, PAGE, MS_SYNC));
}

/* fsync FD */
static void verb_fsync(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, fsync(descriptor(argv[1])));
}

/* touch-bus MAPPING OFFSET: what a look at a page gives: a number, or "bus". */
static void verb_touch_bus(int argc, char **argv, struct reply *reply) {
  (void)argc;
  expect_bus();
  if (sigsetjmp(bus_exit, 1)) {
    reply_format(reply, "bus");
  } else {
    reply_format(reply, "%u", *(volatile uint32_t *)mapped(argv[1], argv[2]));
  }
  bus_is_expected = 0;
}

/* storm PATH MILLISECONDS SEED: everything that makes pages come and go, until the time is over or
 * something fails: the number of rounds, and what ended them early. */
static void verb_storm(int argc, char **argv, struct reply *reply) {
  int64_t end = milliseconds() + number(argv[2]);
  uint64_t state = (uint64_t)number(argv[3]);
  volatile unsigned long long rounds = 0;
  (void)argc;
  int fd = open(argv[1], O_RDWR | O_CLOEXEC);
  off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
  char *memory = fd < 0 ? MAP_FAILED
                        : mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    reply_error(reply, errno);
    return;
  }
  size_t pages = (size_t)size / PAGE;
  char *buffer = aligned_alloc(PAGE, 4 * PAGE);
  memset(buffer, 0x5a, 4 * PAGE);
  expect_bus();
  if (sigsetjmp(bus_exit, 1)) {
    reply_format(reply, "%llu bus", rounds);
    goto done;
  }
  while (milliseconds() < end) {
    uint64_t random = mixed(state += 0x9e3779b97f4a7c15u);
    /* The first pages, where the engines are, more often than others; what is in them stays. */
    size_t page = random & 1 ? random / 256 % 2 : 2 + random / 256 % (pages - 2);
    char *at = memory + page * PAGE;
    long result = 0;
    switch (random / 2 % 8) {
      case 0: __atomic_fetch_or(at + PAGE - 1, 0, __ATOMIC_RELAXED); break;
      case 1: result = msync(at, PAGE, MS_SYNC); break;
      case 2: result = fsync(fd); break;
      case 3: result = posix_fadvise(fd, (off_t)(page * PAGE), PAGE, POSIX_FADV_DONTNEED); break;
      case 4: result = madvise(at, PAGE, MADV_DONTNEED); break;
      case 5: result = pread(fd, buffer, PAGE, (off_t)(page * PAGE)); break;
      case 6:
        if (page < 2) break;
        result = pwrite(fd, buffer, 2 * PAGE - 100, (off_t)(page * PAGE) + 50);
        break;
      case 7: {
        int direct = open(argv[1], O_RDWR | O_DIRECT | O_TRUNC | O_CLOEXEC);
        if (direct < 0) break;
        result = pread(direct, buffer, PAGE, (off_t)(page * PAGE));
        if (result == PAGE && page >= 2) {
          memset(buffer, 0x5a, PAGE);
          result = pwrite(direct, buffer, PAGE, (off_t)(page * PAGE));
        }
        close(direct);
        break;
      }
    }
    /* EINVAL: no O_DIRECT here; EPERM: across the end. */
    if (result < 0 && errno != EINVAL && errno != EPERM) {
      reply_format(reply, "%llu ", rounds);
      reply_error(reply, errno);
      goto done;
    }
    rounds++;
  }
  reply_format(reply, "%llu", rounds);
done:
  bus_is_expected = 0;
  free(buffer);
  munmap(memory, (size_t)size);
  close(fd);
}

/* Records, each of which says which one it is, and what was written of them. A process writes one
 * journal. */
struct record {
  uint64_t number;
  uint64_t words[RECORD / 8 - 1];
};
static struct {
  _Atomic uint64_t done[SLOTS];
  /* What has to be there at least, once that has been marked. */
  uint64_t marked[SLOTS];
  int is_marked;
  /* The one that was being written when it ended. */
  uint64_t begun;
  size_t slots;
  atomic_int is_stopped;
  /* Says who looks at the rest that it is complete. */
  atomic_int is_ended;
} journal;

static struct record record_of(uint64_t number) {
  struct record record = {.number = number};
  for (size_t i = 0; i < sizeof record.words / sizeof *record.words; i++)
    record.words[i] = mixed(number * 64 + i);
  return record;
}

/* journal PATH OFFSET write|map|sync: writes records one after the other, over and over, by pwrite(2),
 * by stores to a mapping, or by stores and msync(2), until it fails or is stopped. The number of
 * records, and what ended it. */
static void verb_journal(int argc, char **argv, struct reply *reply) {
  off_t offset = (off_t)number(argv[2]);
  int is_mapped = strcmp(argv[3], "write") != 0, is_synced = !strcmp(argv[3], "sync");
  volatile uint64_t next = 1;
  (void)argc;
  int fd = open(argv[1], O_RDWR | O_CLOEXEC);
  off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
  char *memory = fd < 0 ? MAP_FAILED
                        : mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    reply_error(reply, errno);
    return;
  }
  for (size_t slot = 0; slot < SLOTS; slot++) journal.done[slot] = 0;
  journal.slots = (size_t)(size - offset) / RECORD;
  if (journal.slots > SLOTS) journal.slots = SLOTS;
  atomic_store(&journal.is_stopped, 0);
  atomic_store(&journal.is_ended, 0);
  expect_bus();
  if (sigsetjmp(bus_exit, 1)) {
    reply_format(reply, "%llu bus", (unsigned long long)next - 1);
  } else {
    while (!atomic_load(&journal.is_stopped)) {
      struct record record = record_of(next);
      size_t slot = next % journal.slots;
      off_t at = offset + (off_t)(slot * RECORD);
      journal.begun = next;
      if (!is_mapped) {
        if (pwrite(fd, &record, RECORD, at) != RECORD) break;
      } else {
        memcpy(memory + at, &record, RECORD);
        /* A record does not cross a page. */
        if (is_synced && msync(memory + at / PAGE * PAGE, PAGE, MS_SYNC)) break;
      }
      journal.done[slot] = next;
      next++;
    }
    int error = errno;
    reply_format(reply, "%llu ", (unsigned long long)next - 1);
    if (atomic_load(&journal.is_stopped)) {
      reply_format(reply, "stopped");
    } else {
      reply_error(reply, error);
    }
  }
  bus_is_expected = 0;
  munmap(memory, (size_t)size);
  close(fd);
  atomic_store(&journal.is_ended, 1);
}

static void verb_journal_stop(int argc, char **argv, struct reply *reply) {
  (void)argc;
  (void)argv;
  atomic_store(&journal.is_stopped, 1);
  reply_result(reply, 0);
}

/* journal-mark: what has been written by now is what has to be there, and more may be. */
static void verb_journal_mark(int argc, char **argv, struct reply *reply) {
  (void)argc;
  (void)argv;
  for (size_t slot = 0; slot < SLOTS; slot++) journal.marked[slot] = journal.done[slot];
  journal.is_marked = 1;
  reply_result(reply, 0);
}

/* Whether a word may be that of a record, or of the one before or after it in its slot. */
static int is_word_of(uint64_t word, size_t index, uint64_t number, uint64_t oldest) {
  for (int round = -1; round <= 1; round++) {
    uint64_t other = number + (uint64_t)round * journal.slots;
    if (other < oldest || other > journal.begun) continue;
    const struct record record = record_of(other);
    if (((const uint64_t *)&record)[index] == word) return 1;
  }
  return 0;
}

/* journal-check PATH OFFSET: how many records are neither what was written last (or what was marked, or
 * came after it) nor what was being written at the end; and how many were looked at. */
static void verb_journal_check(int argc, char **argv, struct reply *reply) {
  off_t offset = (off_t)number(argv[2]);
  long long wrong = 0, written = 0;
  (void)argc;
  int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
  if (fd < 0 || !atomic_load(&journal.is_ended)) {
    reply_error(reply, fd < 0 ? errno : EBUSY);
    return;
  }
  for (size_t slot = 0; slot < journal.slots; slot++) {
    struct record found;
    uint64_t oldest = journal.is_marked ? journal.marked[slot] : journal.done[slot];
    if (pread(fd, &found, RECORD, offset + (off_t)(slot * RECORD)) != RECORD) {
      reply_error(reply, errno);
      break;
    }
    if (!oldest) continue;
    written++;
    int is_right = found.number >= oldest && found.number <= journal.begun &&
                   found.number % journal.slots == slot;
    /* One may be in the middle of being written, if that goes on: a part of each. */
    for (size_t i = 0; i < RECORD / 8 && is_right; i++)
      is_right = is_word_of(((uint64_t *)&found)[i], i, found.number, oldest);
    wrong += !is_right;
  }
  close(fd);
  if (!reply->length) reply_format(reply, "%lld %lld", wrong, written);
}

const struct verb page_verbs[] = {{"sow", 4, verb_sow},
                                  {"reap", 4, verb_reap},
                                  {"sync", 2, verb_sync},
                                  {"fsync", 1, verb_fsync},
                                  {"touch-bus", 2, verb_touch_bus},
                                  {"storm", 3, verb_storm},
                                  {"journal", 3, verb_journal},
                                  {"journal-stop", 0, verb_journal_stop},
                                  {"journal-mark", 0, verb_journal_mark},
                                  {"journal-check", 2, verb_journal_check},
                                  {NULL, 0, NULL}};
