/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "CLinux.h"
#include "result.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

int vsocfs_memfd_create(const char *name) {
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  /* MFD_NOEXEC_SEAL is younger (6.3) than some kernels that can do the rest. */
  if (fd < 0 && errno == EINVAL) fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  return or_errno(fd);
}

int vsocfs_memfd_seal_size(int fd) {
  return or_errno(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL));
}

void vsocfs_touch(void *page) { __atomic_fetch_or((unsigned char *)page, 0, __ATOMIC_RELAXED); }

int vsocfs_eventfd(void) { return or_errno(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int vsocfs_semaphore(void) { return or_errno(eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)); }

int vsocfs_timerfd_monotonic(void) {
  return or_errno(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

int vsocfs_timerfd_set(int fd, int64_t seconds, int64_t nanoseconds) {
  struct itimerspec when = {.it_value = {.tv_sec = seconds, .tv_nsec = nanoseconds}};
  return or_errno(timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL));
}

static void shutdown_signals(sigset_t *set) {
  sigemptyset(set);
  sigaddset(set, SIGTERM);
  sigaddset(set, SIGINT);
  sigaddset(set, SIGHUP);
}

int vsocfs_block_shutdown_signals(void) {
  sigset_t set;
  /* Whoever started this may have it blocked. */
  sigemptyset(&set);
  sigaddset(&set, SIGBUS);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
  shutdown_signals(&set);
  signal(SIGPIPE, SIG_IGN);
  /* Of a lease that somebody breaks in the moment for which there is one. */
  signal(SIGIO, SIG_IGN);
  return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int vsocfs_signalfd_for_shutdown(void) {
  sigset_t set;
  shutdown_signals(&set);
  return or_errno(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int vsocfs_epoll_create(void) { return or_errno(epoll_create1(EPOLL_CLOEXEC)); }

int vsocfs_epoll_wait(int epoll, uint64_t *tokens, int capacity, int timeout) {
  struct epoll_event events[16];
  if (capacity > 16) capacity = 16;
  int n = epoll_wait(epoll, events, capacity, timeout);
  for (int i = 0; i < n; i++) tokens[i] = events[i].data.u64;
  return or_errno(n);
}

int vsocfs_futex_wake(const void *word, int count) {
  return or_errno(syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0));
}

int vsocfs_futex_wait_private(const void *word, uint32_t value) {
  return or_errno(syscall(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0));
}

int vsocfs_futex_wake_private(const void *word, int count) {
  return or_errno(syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, NULL, NULL, 0));
}

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

int vsocfs_futex_waitv(struct vsocfs_futex_waitv *words, unsigned count) {
  return or_errno(syscall(SYS_futex_waitv, words, count, 0, NULL, 0));
}

int vsocfs_umount_abort(const char *path) {
  return or_errno(umount2(path, MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW));
}

int vsocfs_umount_detach(const char *path) {
  return or_errno(umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW));
}

int vsocfs_thread_start(void *(*body)(void *), void *argument, size_t stack_size) {
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  if (stack_size) pthread_attr_setstacksize(&attributes, stack_size);
  sigfillset(&all);
  /* Blocked, it would end the process. */
  sigdelset(&all, SIGBUS);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&thread, &attributes, body, argument);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return -error;
}

void vsocfs_thread_name(const char *name) { pthread_setname_np(pthread_self(), name); }

void vsocfs_reserve_heap(void) {
  enum { RESERVE = 32 << 20 };
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_MMAP_THRESHOLD, RESERVE);
  mallopt(M_TOP_PAD, RESERVE);
  /* Its pages are got at the first use only. */
  void *volatile reserve = malloc(RESERVE / 2);
  free(reserve);
}

int vsocfs_open_place(const char *directory) {
  return or_errno(open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

int vsocfs_thread_id(void) { return (int)syscall(SYS_gettid); }

int vsocfs_become_io_flusher(void) { return or_errno(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0)); }

int vsocfs_lock_file(int fd) { return or_errno(flock(fd, LOCK_EX | LOCK_NB)); }

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

int vsocfs_pidfd_open(int pid) { return or_errno(syscall(SYS_pidfd_open, pid, 0)); }

int vsocfs_pipe(int ends[2]) { return or_errno(pipe2(ends, O_CLOEXEC)); }

int vsocfs_spawn_session(const char *path, char *const *arguments, char *const *environment,
                         const int *inherited, int count) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  pid_t pid;
  posix_spawn_file_actions_init(&actions);
  int error = 0;
  for (int i = 0; i < count && !error; i++)
    /* Onto itself: this is how posix_spawn clears close-on-exec. */
    if (inherited[i] >= 0)
      error = posix_spawn_file_actions_adddup2(&actions, inherited[i], inherited[i]);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  if (!error) error = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error ? -error : pid;
}

int vsocfs_spawn_helper(const char *program, char *const *arguments, char *const *environment,
                        int error, int inherited) {
  posix_spawn_file_actions_t actions;
  pid_t pid;
  posix_spawn_file_actions_init(&actions);
  int failure = posix_spawn_file_actions_adddup2(&actions, error, STDERR_FILENO);
  if (!failure && inherited >= 0)
    failure = posix_spawn_file_actions_adddup2(&actions, inherited, inherited);
  if (!failure) failure = posix_spawnp(&pid, program, &actions, NULL, arguments, environment);
  posix_spawn_file_actions_destroy(&actions);
  return failure ? -failure : pid;
}

int vsocfs_wait_for_exit(int pid) {
  int status;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return -errno;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int vsocfs_open_standard_streams(void) {
  int fd;
  do fd = open("/dev/null", O_RDWR);
  while (0 <= fd && fd <= 2);
  if (fd < 0) return -errno;
  close(fd);
  return 0;
}

int vsocfs_detach_standard_streams(void) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return -errno;
  for (int fd = 0; fd <= 2; fd++)
    if (dup2(null, fd) < 0) return -errno;
  if (null > 2) close(null);
  return 0;
}

_Bool vsocfs_standard_error_is(uint64_t device, uint64_t inode) {
  struct stat status;
  return fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

int vsocfs_socket_pair(int ends[2]) {
  return or_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
}

int vsocfs_packet_pair(int ends[2]) {
  return or_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
}

/* Room for the message that carries a descriptor. */
union control {
  struct cmsghdr header;
  char space[CMSG_SPACE(sizeof(int))];
};

/* The descriptor that came with a message, or -1. */
static int descriptor_in(struct msghdr *message) {
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int)))
    return -1;
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

int vsocfs_receive_descriptor(int socket) {
  char byte;
  struct iovec data = {.iov_base = &byte, .iov_len = 1};
  union control control;
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  if (recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
    return errno == EAGAIN ? -ENODATA : -errno;
  int fd = descriptor_in(&message);
  return fd < 0 ? -ENODATA : fd;
}

int vsocfs_send_numbered(int socket, int32_t number, int fd) {
  struct iovec data = {.iov_base = &number, .iov_len = sizeof number};
  union control control;
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
  if (fd >= 0) {
    memset(&control, 0, sizeof control);
    control.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
  }
  return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int vsocfs_receive_numbered(int socket, int32_t *number, int *fd) {
  struct iovec data = {.iov_base = number, .iov_len = sizeof *number};
  union control control;
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0) return -errno;
  *fd = n == 0 ? -1 : descriptor_in(&message);
  return n > 0;
}

int vsocfs_send_datagram(const char *path, const char *text, _Bool waits) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length == 0 || length >= sizeof address.sun_path) return -EINVAL;
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = 0;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  ssize_t sent =
      sendto(fd, text, strlen(text), MSG_NOSIGNAL | (waits ? 0 : MSG_DONTWAIT),
             (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + length);
  int result = sent < 0 ? -errno : 0;
  close(fd);
  return result;
}
