/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "CMountTesting.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int or_errno(long result) { return result < 0 ? -errno : (int)result; }

int32_t mt_spawn(const char *path, char *const *arguments, char *const *environment, int input,
                 int output, int error, int death_signal, const struct mt_identity *identity) {
  /* The child only makes system calls until it executes: other threads may hold any lock. */
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid != 0) return or_errno(pid);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  setpgid(0, 0);
  if (identity && identity->mount_namespace >= 0 && setns(identity->mount_namespace, CLONE_NEWNS))
    _exit(126);
  /* As root: the way to a build may be closed to the user. */
  int program = identity ? open(path, O_PATH | O_CLOEXEC) : -1;
  if (identity && (setgroups(0, NULL) || setgid(identity->gid) || setuid(identity->uid)))
    _exit(126);
  /* A change of user would clear it. */
  prctl(PR_SET_PDEATHSIG, death_signal);
  if (getppid() != parent) _exit(126);
  /* Out of the way of 0, 1 and 2 first. */
  int in = fcntl(input, F_DUPFD, 3), out = fcntl(output, F_DUPFD, 3), err = fcntl(error, F_DUPFD, 3);
  if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(126);
  if (program > 3) program = dup3(program, 3, O_CLOEXEC);
  close_range(program == 3 ? 4 : 3, ~0u, 0);
  execve(path, arguments, environment);
  if (errno == EACCES && program == 3) execveat(3, "", arguments, environment, AT_EMPTY_PATH);
  _exit(127);
}

int32_t mt_fork(void (*body)(void *), void *argument) {
  int done = eventfd(0, EFD_CLOEXEC);
  if (done < 0) return -errno;
  uint64_t one = 1;
  pid_t parent = getpid(), pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(126);
    body(argument);
    if (write(done, &one, sizeof one) < 0) _exit(126);
    /* Whoever waits for the end of something shall not wait for this process. */
    close_range(3, ~0u, 0);
    while (1) pause();
  }
  int32_t result = or_errno(pid);
  if (pid > 0 && mt_readable(done, 10000) != 1) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    result = -ETIMEDOUT;
  }
  close(done);
  return result;
}

int mt_wait(int32_t pid, int milliseconds, int *status) {
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return -errno;
  int ended = mt_readable(fd, milliseconds);
  close(fd);
  if (ended <= 0) return ended;
  return or_errno(waitpid(pid, status, 0)) == pid ? 1 : -ECHILD;
}

int mt_exit_status(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int mt_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC)) return -errno;
  return or_errno(fcntl(ends[0], F_SETFL, O_NONBLOCK));
}

int mt_readable(int fd, int milliseconds) {
  struct pollfd entry = {.fd = fd, .events = POLLIN};
  int64_t end = mt_milliseconds() + milliseconds;
  while (1) {
    int64_t left = end - mt_milliseconds();
    int n = poll(&entry, 1, left > 0 ? (int)left : 0);
    if (n >= 0) return n;
    if (errno != EINTR) return -errno;
  }
}

int mt_connect(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  int error = errno;
  close(fd);
  return -error;
}

int mt_receive(int socket, void *bytes, int length, int *descriptors, int count, int milliseconds) {
  union {
    char bytes[CMSG_SPACE(sizeof(int) * 8)];
    struct cmsghdr header;
  } control;
  struct iovec data = {.iov_base = bytes, .iov_len = (size_t)length};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  for (int i = 0; i < count; i++) descriptors[i] = -1;
  if (mt_readable(socket, milliseconds) != 1) return -ETIMEDOUT;
  ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0) return -errno;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header && header->cmsg_type == SCM_RIGHTS) {
    int found = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(descriptors, CMSG_DATA(header), sizeof(int) * (size_t)(found < count ? found : count));
  }
  return (int)n;
}

int mt_notify_socket(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  if (bind(fd, (struct sockaddr *)&address, sizeof address)) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

int mt_umount(const char *path) { return or_errno(umount2(path, UMOUNT_NOFOLLOW)); }

int mt_umount_force(const char *path) {
  return or_errno(umount2(path, MNT_FORCE | UMOUNT_NOFOLLOW));
}

int mt_umount_detach(const char *path) {
  return or_errno(umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW));
}

int64_t mt_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void mt_sleep(int milliseconds) {
  struct timespec time = {.tv_sec = milliseconds / 1000,
                          .tv_nsec = milliseconds % 1000 * 1000000L};
  nanosleep(&time, NULL);
}
