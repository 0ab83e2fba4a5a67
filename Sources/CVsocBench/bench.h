/* SPDX-License-Identifier: Apache-2.0 */
/* What the C files of the benchmark share. */
#ifndef VSOCFS_BENCH_H
#define VSOCFS_BENCH_H

#include "CVsocBench.h"

#include <stdatomic.h>
#include <stdlib.h>

struct vsocfs_bench_board {
  _Atomic uint32_t arrived; /* at the barrier */
  _Atomic uint32_t failed;
  _Atomic uint32_t turn; /* of clients that take turns */
  _Atomic uint32_t answer;
  _Atomic uint64_t instant;
  _Atomic uint32_t tally[VSOCFS_BENCH_TALLIES];
  _Atomic uint32_t count[VSOCFS_BENCH_SERIES];
  char error[256];
  double samples[VSOCFS_BENCH_SERIES][VSOCFS_BENCH_SAMPLES];
};

/* The board of this client. */
extern struct vsocfs_bench_board *board;

/* The words that clients use lie behind the tables of every region that the rows make. */
enum { WORD_A = 0x10000, WORD_B = 0x10080, MAPPED_SIZE = 1 << 20 };

/* Ends the client; the text and errno's go to the driver. */
_Noreturn void client_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A path, or "fd:N" for a descriptor that was handed over. */
int open_target(const char *target, int flags);
/* Confines a process or thread (0: the caller) to the index'th of the CPUs that the caller may use;
 * 0 or -errno. */
int confine(int tid, int index);
/* Waits until `count` clients are here. */
void barrier(uint32_t count);
void nap(long microseconds);
long number(const char *text);

/* What a client waits at and what it rings; a counter is an eventfd. */
struct bell {
  int in, out;
  bool polls;
  const char *message;
  size_t length;
};
void await_ring(const struct bell *bell);
/* Two clients ring by turns; a sample is a round trip of side 0. */
void ring_by_turns(const struct bell *bell, long side, long round_trips);
/* Rings whenever the client that listens sleeps in its poll again. */
void ring_for_listener(void (*ring)(void), long samples);

/* A stream socket at `path`. */
int connect_socket(const char *path);
int listen_socket(const char *path);

/* Clients by kind; the arguments are those behind SECONDS. */
int client_touch(int argc, char **argv);
int client_load(int argc, char **argv);
int client_sync(int argc, char **argv);
int client_stream(int argc, char **argv);
int client_transfer(int argc, char **argv);
int client_exchange(int argc, char **argv);
int client_futex(int argc, char **argv);
int client_ring(int argc, char **argv);
int client_ioctl(int argc, char **argv);
int client_open(int argc, char **argv);
int client_cond_sleeper(int argc, char **argv);
int client_cond_waker(int argc, char **argv);
int client_cond_wake_once(int argc, char **argv);
int client_crowd(int argc, char **argv);
int client_claim(int argc, char **argv);
int client_memfd(int argc, char **argv);
int client_hold(int argc, char **argv);
int client_listen(int argc, char **argv);
int client_ring_eventfd(int argc, char **argv);
int client_ring_host(int argc, char **argv);
int client_ring_qemu(int argc, char **argv);
int client_vm(int argc, char **argv);

/* The minimal FUSE daemon; arguments: LOOP MOUNTPOINT. */
int baseline_daemon(int argc, char **argv);

#endif
