/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The measured loops of `vsocfs-bench`, and what its Swift driver needs of Linux.
 *
 * The loops are C because a client must measure system calls and nothing else. Every client is a
 * process of its own: the benchmark's own executable started again as
 * `vsocfs-bench client KIND CPU SECONDS ARGUMENT...`, with a board (see below) as its results.
 * Shims return what the call returns, or -errno.
 */
#ifndef VSOCFS_CVSOCBENCH_H
#define VSOCFS_CVSOCBENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Descriptors that a child finds open: the board, then what the row hands to it. */
enum { VSOCFS_BENCH_BOARD_FD = 100, VSOCFS_BENCH_FIRST_FD = 101 };

/*
 * The board: memory that a row's clients share with each other and with the driver. It takes the
 * samples, so that nothing is written or sent while a loop runs.
 */
struct vsocfs_bench_board;

enum { VSOCFS_BENCH_SERIES = 2, VSOCFS_BENCH_TALLIES = 6, VSOCFS_BENCH_SAMPLES = 1 << 16 };

size_t vsocfs_bench_board_size(void);
struct vsocfs_bench_board *vsocfs_bench_board_map(int fd);
void vsocfs_bench_board_unmap(struct vsocfs_bench_board *board);
/* Nanoseconds per operation, `count` of them. */
const double *vsocfs_bench_samples(const struct vsocfs_bench_board *board, int series);
uint32_t vsocfs_bench_count(const struct vsocfs_bench_board *board, int series);
uint32_t vsocfs_bench_tally(const struct vsocfs_bench_board *board, int index);
/* Why a client gave up; empty if none did. Stays valid as long as the board. */
const char *vsocfs_bench_error(const struct vsocfs_bench_board *board);

/* Clients. */

/* Runs `argv[1]` = "client", "launch" or "baseline"; -1 if it is none of them. */
int vsocfs_bench_subcommand(int argc, char **argv);
/* What a client does first: dies with its parent, sets its deadline, pins itself, maps the board.
 * Returns its own arguments (behind SECONDS) in `*argc`. */
char **vsocfs_bench_client_begin(int *argc, char **argv);
void *vsocfs_bench_client_map(const char *target, size_t size);
void vsocfs_bench_record(int series, double nanoseconds);
/* From here on, a system call other than exit_group ends the process with SIGSYS. */
void vsocfs_bench_forbid_system_calls(void);
_Noreturn void vsocfs_bench_exit(int status);
uint64_t vsocfs_bench_now(void);

/* The driver. */

/* Lets this process and its children have that many descriptors open, if they may; how many they can
 * have then. */
int64_t vsocfs_bench_allow_descriptors(int64_t count);
/* An empty memfd of `size` bytes, sealed as a region's is. */
int vsocfs_bench_memfd(size_t size);
/* A file without a name in the file system of `directory`, with all its blocks. */
int vsocfs_bench_file(const char *directory, size_t size);
int vsocfs_bench_eventfd(void);
/* Two connected stream sockets. */
int vsocfs_bench_socket_pair(int ends[2]);
/* Blocks the signals that end the benchmark and returns a signalfd for them. */
int vsocfs_bench_catch_signals(void);
/* Starts `argv` with the `count` descriptors from VSOCFS_BENCH_BOARD_FD up and stderr on
 * `error_fd`; the pid. */
int vsocfs_bench_spawn(const char *const *argv, const int *fds, int count, int error_fd);
int vsocfs_bench_pidfd(int pid);
/* Sends a signal to a process that cannot have been replaced by another of the same number. */
int vsocfs_bench_kill(int pidfd, int signal);
/* The wait status of a child that has ended, or -EAGAIN. */
int vsocfs_bench_reap(int pid);
/* The index of the first readable one of `fds`, or -ETIMEDOUT. */
int vsocfs_bench_await(const int *fds, int count, int milliseconds);
/* A datagram socket at `path` for sd_notify messages. */
int vsocfs_bench_notify_socket(const char *path);
/* 1 if the message read is READY=1, 0 for another one, -EAGAIN for none. */
int vsocfs_bench_notify_read(int fd);
/* Nanoseconds of CPU time that all threads of a process used, the ended ones included. */
int64_t vsocfs_bench_cpu_time(int pid);
/* Confines all threads of a process, and those that they will start, to the index'th CPU. */
int vsocfs_bench_confine(int pid, int index);
/* Ends the mount's connection too, so that whoever waits for its daemon does so no longer. */
int vsocfs_bench_detach_mount(const char *path);
/* Is `path` a mountpoint at this moment? Reads /proc/mounts: a dead mount is found as well. */
bool vsocfs_bench_is_mounted(const char *path);

#endif
