/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests need of the system and Swift's Glibc module lacks: processes that are
 * waited for with a deadline, a NOTIFY_SOCKET, umount2. Everything returns -errno on failure, and
 * nothing waits longer than it is told.
 */
#ifndef CMOUNTTESTING_H
#define CMOUNTTESTING_H

#include <stdint.h>

/* Who a program runs as, and the mount namespace that it sees (a descriptor; -1: the caller's). */
struct mt_identity {
  uint32_t uid;
  uint32_t gid;
  int mount_namespace;
};

/* Starts a program in a process group of its own, with standard input, output and error as given
 * (descriptors that stay open here), everything else closed. It is killed by `death_signal` when
 * the thread that started it ends. `identity` may be NULL: this process's own. The pid. */
int32_t mt_spawn(const char *path, char *const *arguments, char *const *environment, int input,
                 int output, int error, int death_signal, const struct mt_identity *identity);

/* A child that calls a C function, and then does nothing until it is killed: the pid, once the
 * function has returned. It dies with the thread that started it. */
int32_t mt_fork(void (*body)(void *), void *argument);

/* Waits until the child ends: 1 and its wait status, or 0 at the deadline. */
int mt_wait(int32_t pid, int milliseconds, int *status);

/* What a wait status says: the exit status, or minus the signal that killed. */
int mt_exit_status(int status);

/* A pipe, close-on-exec, the read end non-blocking. */
int mt_pipe(int ends[2]);

/* Waits until `fd` is readable or at its end: 1, or 0 at the deadline. */
int mt_readable(int fd, int milliseconds);

/* A datagram socket bound at `path`, for NOTIFY_SOCKET. */
int mt_notify_socket(const char *path);

/* A UNIX stream socket that is connected to `path`. */
int mt_connect(const char *path);
/* Up to `length` bytes from a socket, with the descriptors that come with them (-1 where there are fewer
 * than `count`): how many bytes, 0 at its end, -ETIMEDOUT at the deadline. */
int mt_receive(int socket, void *bytes, int length, int *descriptors, int count, int milliseconds);

/* umount2(2). */
int mt_umount(const char *path);
int mt_umount_force(const char *path);
int mt_umount_detach(const char *path);

/* A number of CLOCK_MONOTONIC. */
int64_t mt_milliseconds(void);
void mt_sleep(int milliseconds);

#endif
