/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs with many claiming processes have in common. */
#ifndef VSOC_CLIENT_CLAIMS_H
#define VSOC_CLIENT_CLAIMS_H

#include "client.h"

#include <pthread.h>
#include <stdatomic.h>

#include "permissions.h"

/* The ways to claim, numbered: the first two go through the manager. */
enum { CLAIM_TEXT = 4, CLAIM_WAYS = 5 };
extern const char *const claim_ways[CLAIM_WAYS];

/* A descriptor of the managed region that can hold one permission, and one of the manager. */
struct handle {
  int fd;
  int manager;
  int way;
};

/* A line of `permissions`. */
struct table_line {
  struct fd_scoped_permission permission;
  int pid;
};

int64_t claims_microseconds(void);
uint64_t claims_random(uint64_t *state);

/* Zeroed memory that children share. */
void *claims_shared(size_t size);
/* A child that runs `body` and dies with this process. */
pid_t claims_fork(void (*body)(void *shared, int index), void *shared, int index);

int claims_open(const char *directory, const char *file);
void claims_open_handle(struct handle *handle, const char *managed, int manager, int way);
/* 0, or an errno. */
int claims_claim(struct handle *handle, struct fd_scoped_permission permission);

/* The lines of `permissions`: their number, or -1 if there are more, or others. */
int claims_table(const char *managed, struct table_line *lines, int count);
/* The manager's memory. */
const volatile uint32_t *claims_owner_words(const char *manager, size_t length);
/* Waits until no permission is left and `count` owner words at `first` are 0: 0, or not at the
 * deadline. */
int claims_wait_until_free(const char *managed, const volatile uint32_t *words, size_t first,
                           size_t count);

verb_function verb_claim_stress;

#endif
