/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls and constants that Swift's Glibc module lacks. Each shim returns what the call
 * returns, or -errno: errno is not a value that survives the way through Swift.
 */
#ifndef VSOCFS_CLINUX_H
#define VSOCFS_CLINUX_H

/* Nothing that depends on _GNU_SOURCE here: Swift's Glibc module has its own view of libc. */
#include <stddef.h>
#include <stdint.h>

/* memfd_create(2), fcntl(F_ADD_SEALS): variadic, or not in the module. */
int vsocfs_memfd_create(const char *name);
/* No growing, no shrinking, and no change of the seals: a size that the daemon can rely on. */
int vsocfs_memfd_seal_size(int fd);
/* madvise(2): younger than Debian 12's headers may be. */
enum { VSOCFS_MADV_POPULATE_READ = 22, VSOCFS_MADV_POPULATE_WRITE = 23 };
/* Dirties a page without changing it, whoever else writes to it: an atomic addition of nothing. */
void vsocfs_touch(void *page);
/* sync_file_range(2) of a whole file: what was stored has been written back on return. Takes no lock of
 * the file, and does not ask its file system for more. */
int vsocfs_write_back(int fd);

/* A SIGBUS by an access to a mapping that is watched puts a page of zeros there, and the mapping is broken
 * from then on; any other SIGBUS does what it did before. From the first call on, for good. A part of a
 * mapping may be watched as well, and is broken by itself then. NULL: no memory. To be ended before the
 * mapping is undone. */
struct vsocfs_watched_mapping *vsocfs_watch_mapping(void *base, size_t size);
void vsocfs_unwatch_mapping(struct vsocfs_watched_mapping *mapping);
/* A word that is not 0, to be read atomically, once the mapping is broken. */
const uint32_t *vsocfs_mapping_is_broken(const struct vsocfs_watched_mapping *mapping);

/* eventfd(2), timerfd(2), signalfd(2), epoll(7): not in the module. */
int vsocfs_eventfd(void);
/* One whose blocking read takes 1. */
int vsocfs_semaphore(void);
int vsocfs_timerfd_monotonic(void);
/* Absolute CLOCK_MONOTONIC time; 0, 0 disarms. */
int vsocfs_timerfd_set(int fd, int64_t seconds, int64_t nanoseconds);
int vsocfs_signalfd_for_shutdown(void);
int vsocfs_epoll_create(void);
/* Stores up to `capacity` tokens, of at most 16. The timeout in milliseconds may be -1: none. */
int vsocfs_epoll_wait(int epoll, uint64_t *tokens, int capacity, int timeout);

/* Each event of readability and of writability (EPOLLET). epoll(7) looks again before it tells of an event,
 * and says nothing of one that somebody has read by then; an eventfd is nearly always writable, so that a
 * ring is told whoever has read it. So is the reading. */
int vsocfs_epoll_add_edges(int epoll, int fd, uint64_t token);
int vsocfs_epoll_add_urgent(int epoll, int fd, uint64_t token);
int vsocfs_epoll_remove(int epoll, int fd);

/*
 * Adds 1 to an eventfd that others have as well (events.c). write(2) may wait: until somebody reads, if
 * one of them has brought the counter to its maximum and cleared O_NONBLOCK, which belongs to all. What
 * the kernel does itself never waits, and is heard at the maximum, too: the end of an asynchronous read
 * (io_submit(2)) is told so, here of no bytes of a file that can be read at any time.
 */
int vsocfs_ringer_create(uint64_t *ringer);
void vsocfs_ringer_destroy(uint64_t ringer);
int vsocfs_ring(uint64_t ringer, int readable, int event);

/* futex(2), shared: there is no libc wrapper. */
int vsocfs_futex_wake(const void *word, int count);
/* FUTEX_WAKE of everybody: a count of -1 wakes one sleeper only. */
enum { VSOCFS_FUTEX_WAKE_ALL = 0x7fffffff };
int vsocfs_futex_wait_private(const void *word, uint32_t value);
int vsocfs_futex_wake_private(const void *word, int count);

enum { VSOCFS_FUTEX_WAITV_MAX = 128 };
/* One word of a futex_waitv(2), which Debian 12's headers know but glibc does not wrap. */
struct vsocfs_futex_waitv {
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};
enum { VSOCFS_FUTEX_SHARED_U32 = 2, VSOCFS_FUTEX_PRIVATE_U32 = 2 | 128 };
/* The index of a word that was woken, or -errno (-EAGAIN: some word had another value). */
int vsocfs_futex_waitv(struct vsocfs_futex_waitv *words, unsigned count);

/* umount2(2) at the end of a mount: also aborts the connection, so that nobody stays blocked. */
int vsocfs_umount_abort(const char *path);
/* Detaches whatever is mounted last at `path`. */
int vsocfs_umount_detach(const char *path);

/* pthread_create, detached, with a given stack size (0: the default). All signals are blocked in
 * the thread, as the signalfd has them, but for SIGBUS, which comes of its own accesses. 0 or -errno. */
int vsocfs_thread_start(void *(*body)(void *), void *argument, size_t stack_size);
/* Names the calling thread (at most 15 bytes); pthread_setname_np is not in the module. */
void vsocfs_thread_name(const char *name);

/* Blocks SIGTERM, SIGINT, SIGHUP in the calling thread (and those it will start) for the signalfd,
 * and ignores SIGPIPE. */
int vsocfs_block_shutdown_signals(void);

/* open(2) of a directory as a place only (O_PATH): not in the module. A dead FUSE mount can be
 * opened so. */
int vsocfs_open_place(const char *directory);

/* Lets malloc(3) have memory at hand, for all threads that are started later, and keep what it has: so that
 * it hardly ever asks the kernel, for which the address space must not be locked. mallopt(3) is not in the
 * module. */
void vsocfs_reserve_heap(void);

/* gettid(2), as FUSE requests name their callers. */
int vsocfs_thread_id(void);

/* Tells the kernel that this thread, and those that it starts, write back the memory of others:
 * they must not wait for that writeback when memory is short (prctl(2) PR_SET_IO_FLUSHER; it needs
 * CAP_SYS_RESOURCE). 0 or -errno. */
int vsocfs_become_io_flusher(void);

/* capset(2), prctl(PR_CAPBSET_DROP): there is no libc wrapper, or the constants are not in the module.
 * Leaves this thread, and those that it will start, and programs that they run, no capabilities but those of
 * `kept` (1 << number) that it has: all other threads must be started later. What only CAP_SETPCAP may
 * change, the bounding set, stays without it. 0 or -errno. */
int vsocfs_keep_capabilities(uint64_t kept);
/* The capabilities that are in effect. */
uint64_t vsocfs_capabilities(void);
/* prctl(2) PR_SET_NO_NEW_PRIVS. */
int vsocfs_refuse_new_privileges(void);
/* CAP_* of <linux/capability.h>. */
enum vsocfs_capability {
  VSOCFS_CAP_DAC_OVERRIDE = 1,
  VSOCFS_CAP_IPC_LOCK = 14,
  VSOCFS_CAP_SYS_PTRACE = 19,
  VSOCFS_CAP_SYS_ADMIN = 21,
};

/* flock(2), exclusive, without waiting: a struct has its name in Swift. */
int vsocfs_lock_file(int fd);
/* pidfd_open(2): glibc 2.35 has no wrapper. */
int vsocfs_pidfd_open(int pid);

/* pipe2(2), close-on-exec: not in the module. */
int vsocfs_pipe(int ends[2]);
/* posix_spawn(3) of `path` in a session of its own, with the `inherited` descriptors open in it
 * (negative ones are passed over): the pid, or -errno. POSIX_SPAWN_SETSID is not in the module. */
int vsocfs_spawn_session(const char *path, char *const *arguments, char *const *environment,
                         const int *inherited, int count);
/* posix_spawn(3) of a program on the PATH with `error` as its standard error and, unless that is -1,
 * `inherited` open in it: the pid, or -errno. It keeps the caller's signal mask. */
int vsocfs_spawn_helper(const char *program, char *const *arguments, char *const *environment,
                        int error, int inherited);
/* waitpid(2) for its end: the exit status, 128 plus the signal that ended it, or -errno. The
 * macros that take a status apart are not in the module. */
int vsocfs_wait_for_exit(int pid);
/* Makes those of standard input, output and error that are closed /dev/null, or all of them:
 * 0 or -errno. */
int vsocfs_open_standard_streams(void);
int vsocfs_detach_standard_streams(void);
/* Whether standard error is the file of this device and inode: a struct has its name in Swift. */
_Bool vsocfs_standard_error_is(uint64_t device, uint64_t inode);

/* A connected pair of UNIX sockets, close-on-exec: not in the module. */
int vsocfs_socket_pair(int ends[2]);
/* The descriptor that lies in a UNIX socket with one byte, close-on-exec; -ENODATA if there is none.
 * Does not wait. The CMSG macros are not in the module. */
int vsocfs_receive_descriptor(int socket);
/* The same for messages. */
int vsocfs_packet_pair(int ends[2]);
/* Sends a number, with a copy of a descriptor unless that is -1, as one message: 0 or -errno. Does not
 * wait. */
int vsocfs_send_numbered(int socket, int32_t number, int fd);
/* Takes such a message: 1; 0 if the other end is closed; -EAGAIN if there is none. `fd` is -1 if it has
 * no descriptor, or there is no room for one. */
int vsocfs_receive_numbered(int socket, int32_t *number, int *fd);

/* Sends one datagram to the UNIX socket `path`; a leading '@' means the abstract name space.
 * sockaddr_un is a tuple of 108 in Swift. Without `waits` a socket that is full is -EAGAIN. 0 or
 * -errno. */
int vsocfs_send_datagram(const char *path, const char *text, _Bool waits);

/*
 * The end of a process as another one sees it (lifeline.c): a robust mutex in shared memory, held by a
 * thread that does nothing else. The kernel gives it up at the very beginning of that thread's end,
 * before the address space is taken down, the descriptors are closed or a pidfd says anything.
 */
enum { VSOCFS_LIFELINE_SIZE = 4096 };
void vsocfs_lifeline_init(void *lifeline);
/* By the thread that held it, or that will hold it until it ends. */
void vsocfs_lifeline_hold(void *lifeline);
void vsocfs_lifeline_let_go(void *lifeline);
/* Waits until nobody holds it: 0 if it was let go, -EOWNERDEAD if its holder has ended. */
int vsocfs_lifeline_wait(void *lifeline);

/* Keeps the kernel from waiting for the threads of this process, for a core dump, before any of them
 * ends: prctl(2) is variadic. 0 or -errno. */
int vsocfs_refuse_core_dumps(void);

/* The minor number of the device that is mounted at `directory`, whose major one is 0 as that of
 * every FUSE mount, or -errno. The file system is not asked: its daemon may be dead. */
int vsocfs_mounted_device(const char *directory);
/* A descriptor of the file at `path` in the file system of that number, to be read and written, if
 * that is what is mounted at `directory`; else -ENODEV, and nothing was opened. */
int vsocfs_open_mounted(const char *directory, int device, const char *path);

/*
 * UNIX stream sockets (sockets.c). sockaddr_un is a tuple of 108 in Swift, and the CMSG macros are not in
 * the module. All of them are close-on-exec and do not wait.
 */

/* One that listens at a path, whose file has that mode from its first moment on. */
int vsocfs_unix_bind(const char *path, unsigned mode);
/* -EAGAIN: there is somebody, who is busy. */
int vsocfs_unix_connect(const char *path);
int vsocfs_accept(int socket);
/* The effective user of whoever connected (SO_PEERCRED): 0 or -errno. */
int vsocfs_peer_user(int socket, uint32_t *user);
enum { VSOCFS_MESSAGE_DESCRIPTORS = 3 };
/* Sends a few bytes with up to VSOCFS_MESSAGE_DESCRIPTORS descriptors, all or nothing: 0 or -errno. */
int vsocfs_send_message(int socket, const void *bytes, size_t length, const int *descriptors,
                        int count);
/* A copy of the mount at a directory, which is nowhere in the tree (open_tree(2) OPEN_TREE_CLONE): what
 * is in use by way of it does not keep the original from being unmounted. Needs CAP_SYS_ADMIN. */
int vsocfs_clone_mount(const char *directory);
/* The minor device number of the file system that `place` is in, as vsocfs_mounted_device. */
int vsocfs_device_of(int place);
/* Level-triggered readability, and writability if asked for, of a descriptor that is in the set already
 * (`again`) or is not yet. */
int vsocfs_epoll_watch(int epoll, int fd, uint64_t token, _Bool writable, _Bool again);

/*
 * Files, and what others do with them (files.c).
 */

/* Opens what a descriptor is open for once more, with an access of its own: by way of /proc. */
int vsocfs_reopen(int fd, _Bool writable);
/* 0 if nobody has the file open for writing, nor mapped by way of such a descriptor; else -EAGAIN. A
 * lease (fcntl(2) F_SETLEASE) on `fd`, which is open for reading, can only be had then. */
int vsocfs_has_no_writers(int fd);
/* The first data between *start and *end that is no hole (lseek(2) SEEK_DATA): 1, and where; or 0. */
int vsocfs_next_data(int fd, int64_t *start, int64_t *end);
/* Copies a part of a file into another one (sendfile(2)), whose position this changes. */
int vsocfs_copy(int from, int64_t from_offset, int to, int64_t to_offset, int64_t length);
/* fallocate(2): the flags are not in the module. */
int vsocfs_punch_hole(int fd, int64_t offset, int64_t length);

/* inotify(7), not in the module: closes of descriptors that were open for writing. */
int vsocfs_inotify_create(void);
/* The watch's number, or -errno. */
int vsocfs_inotify_watch_closes(int inotify, int fd);
int vsocfs_inotify_unwatch(int inotify, int watch);
/* The watches of which something was closed: how many, or -errno. Does not wait. */
int vsocfs_inotify_read(int inotify, int32_t *watches, int capacity);

#include "CLook.h"

#endif
