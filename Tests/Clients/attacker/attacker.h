/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks on a mount, and a victim whose calls are timed meanwhile: `vsoc-attacker VERB ARG...` does one
 * of them. Each says what came of it in lines on standard output, and ends with 0 if it did what it set out
 * to do, whatever the daemon answered. An attack that would have to wait says so before it does.
 */
#ifndef VSOC_ATTACKER_H
#define VSOC_ATTACKER_H

#include <stddef.h>
#include <stdint.h>

typedef int attack_function(int argc, char **argv);

struct attack {
  const char *name;
  int min_arguments;
  attack_function *run;
};

/* One function an attack, each in a file of its own. */
attack_function attack_victim;
attack_function attack_park;
attack_function attack_grab;
attack_function attack_hold_lock;
attack_function attack_claim_sizes;
attack_function attack_region_sizes;
attack_function attack_keep_mapping;
attack_function attack_punch;
attack_function attack_pin_areas;
attack_function attack_nest;
/* connections.c */
attack_function attack_idle, attack_flood;
/* directory.c */
attack_function attack_list, attack_change;
/* bell.c */
attack_function attack_bell;
attack_function attack_reads;
attack_function attack_cat;
attack_function attack_slow_claims;

/* A line of output, at once. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Says what failed, with errno, and ends with 1. */
_Noreturn void fail(const char *what);
/* A descriptor of `path`, or the end. */
int open_or_fail(const char *path, int flags);
/* `pages` pages of a file of slow-pages that nobody has touched: none of them ever comes. */
char *slow_pages(const char *path, size_t pages, int protection);
/* A page that is there, followed by one that never comes. */
char *edge_of_slow_page(const char *path);
long long number(const char *text);
/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t now(void);

#endif
