/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VSOCFS_CLOOK_H
#define VSOCFS_CLOOK_H

#include <stdint.h>

/*
 * Looks into threads of other processes (look.c): their memory, descriptors and names. Each may wait for as
 * long as they like: for a page of theirs that a file system of their own does not bring, or for locks of
 * their address space. So the daemon has it done by a process that it can do without (vsocfs_look_run),
 * which tells it in messages of a fixed layout.
 */

enum {
  /* The word at `address` is read, and taken for `descriptor`. */
  VSOCFS_LOOK_WORD = 1,
  /* The node that `descriptor` is open for is looked for. */
  VSOCFS_LOOK_NODE = 2,
};

struct vsocfs_look {
  int32_t thread;
  uint32_t what;
  uint64_t address;
  int32_t descriptor;
  /* The minor device number of the file system that the node is in. */
  int32_t device;
};

struct vsocfs_seen {
  /* The thread's process; the thread itself if it is gone. */
  int32_t process;
  /* 0 or -errno of reading the word: -EFAULT: there is none; -EPERM: the thread may not be looked at;
   * -ESRCH: it is gone. */
  int32_t word_error;
  /* 0 or -errno of finding the node: -EACCES: the thread may not be looked at; else there is no such
   * descriptor, or it is open for something else. */
  int32_t node_error;
  int32_t reserved;
  uint64_t node;
  /* What runs there, with a NUL; "?" if it is gone. */
  char name[24];
};

void vsocfs_look(const struct vsocfs_look *look, struct vsocfs_seen *seen);

/* Answers such questions until the other end of the socket is closed. Has nothing else of the daemon's. */
_Noreturn void vsocfs_look_run(int socket);

/* A question to it, and its answer: 1; 0 if the other end is closed; or -errno. Neither waits. */
int vsocfs_look_send(int socket, const struct vsocfs_look *look);
int vsocfs_look_receive(int socket, struct vsocfs_seen *seen);

#endif
