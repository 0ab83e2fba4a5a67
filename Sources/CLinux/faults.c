/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "CLinux.h"

/* A handler of a signal, which runs in the midst of whatever the thread was doing, must not need the
 * Swift runtime. */

/* A mapping that the handler knows. A slot is used again, never freed: the handler may look at any at
 * any time, without a lock. */
struct vsocfs_watched_mapping {
  _Atomic uintptr_t base; /* 0: none */
  _Atomic size_t size;
  uint32_t is_broken; /* accessed atomically, here and by others */
  struct vsocfs_watched_mapping *next_free;
};

enum { CHUNK = 64, PAGE = 4096 };
struct chunk {
  struct chunk *next;
  struct vsocfs_watched_mapping slots[CHUNK];
};

static _Atomic(struct chunk *) chunks;
static struct vsocfs_watched_mapping *free_slots;
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction other_action;

/* The mapping at an address; of one in another, the inner one. The one that the calling thread touches
 * stays until it has done so; of any other, base and size may be changing, and do not belong together
 * unless the base stays. */
static struct vsocfs_watched_mapping *mapping_at(uintptr_t address) {
  struct vsocfs_watched_mapping *found = NULL;
  size_t found_size = SIZE_MAX;
  for (struct chunk *chunk = atomic_load(&chunks); chunk; chunk = chunk->next)
    for (size_t i = 0; i < CHUNK; i++) {
      struct vsocfs_watched_mapping *slot = &chunk->slots[i];
      uintptr_t base = atomic_load(&slot->base);
      if (base == 0 || address < base) continue;
      size_t size = atomic_load(&slot->size);
      if (address - base >= size || size >= found_size || atomic_load(&slot->base) != base) continue;
      found = slot;
      found_size = size;
    }
  return found;
}

static void on_bus_error(int number, siginfo_t *info, void *context) {
  (void)context;
  int error = errno;
  _Bool is_access = info->si_code == BUS_ADRERR || info->si_code == BUS_MCEERR_AR;
  struct vsocfs_watched_mapping *slot =
      is_access ? mapping_at((uintptr_t)info->si_addr) : NULL;
  if (slot) {
    /* First this, so that whoever finds the new page there also finds why. */
    __atomic_store_n(&slot->is_broken, 1, __ATOMIC_SEQ_CST);
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1);
    /* Not mmap(3), which a sanitizer replaces by what must not be called here. */
    long result = syscall(SYS_mmap, page, PAGE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (result == (long)page) {
      errno = error;
      return;
    }
  }
  /* Not ours: what would have become of it. An access is made again, anything else is sent again. */
  sigaction(number, &other_action, NULL);
  if (info->si_code <= 0) raise(number);
  errno = error;
}

static void start_watching(void) {
  struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &other_action);
}

struct vsocfs_watched_mapping *vsocfs_watch_mapping(void *base, size_t size) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, start_watching);
  pthread_mutex_lock(&slots_lock);
  if (!free_slots) {
    struct chunk *new = calloc(1, sizeof *new);
    for (size_t i = 0; new && i < CHUNK; i++) {
      new->slots[i].next_free = free_slots;
      free_slots = &new->slots[i];
    }
    if (new) {
      new->next = atomic_load(&chunks);
      atomic_store(&chunks, new);
    }
  }
  struct vsocfs_watched_mapping *slot = free_slots;
  if (slot) free_slots = slot->next_free;
  pthread_mutex_unlock(&slots_lock);
  if (!slot) return NULL;
  __atomic_store_n(&slot->is_broken, 0, __ATOMIC_SEQ_CST);
  atomic_store(&slot->size, size);
  atomic_store(&slot->base, (uintptr_t)base);
  return slot;
}

void vsocfs_unwatch_mapping(struct vsocfs_watched_mapping *mapping) {
  atomic_store(&mapping->base, 0);
  pthread_mutex_lock(&slots_lock);
  mapping->next_free = free_slots;
  free_slots = mapping;
  pthread_mutex_unlock(&slots_lock);
}

const uint32_t *vsocfs_mapping_is_broken(const struct vsocfs_watched_mapping *mapping) {
  return &mapping->is_broken;
}
