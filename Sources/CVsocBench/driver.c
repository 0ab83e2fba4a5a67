/* SPDX-License-Identifier: Apache-2.0 */
/* What the Swift driver needs of Linux: children, deadlines, readiness. */
#define _GNU_SOURCE
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int or_errno(long result) { return result < 0 ? -errno : (int)result; }

size_t vsocfs_bench_board_size(void) { return sizeof(struct vsocfs_bench_board); }

struct vsocfs_bench_board *vsocfs_bench_board_map(int fd) {
  void *memory = mmap(NULL, sizeof(struct vsocfs_bench_board), PROT_READ | PROT_WRITE,
                      MAP_SHARED, fd, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

void vsocfs_bench_board_unmap(struct vsocfs_bench_board *it) { munmap(it, sizeof *it); }

const double *vsocfs_bench_samples(const struct vsocfs_bench_board *it, int series) {
  return it->samples[series];
}
uint32_t vsocfs_bench_count(const struct vsocfs_bench_board *it, int series) {
  return it->count[series];
}
uint32_t vsocfs_bench_tally(const struct vsocfs_bench_board *it, int index) {
  return it->tally[index];
}
const char *vsocfs_bench_error(const struct vsocfs_bench_board *it) { return it->error; }

int64_t vsocfs_bench_allow_descriptors(int64_t count) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return -errno;
  if (files.rlim_max < (rlim_t)count) {
    struct rlimit more = {.rlim_cur = files.rlim_cur, .rlim_max = (rlim_t)count};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0) files = more;
  }
  return files.rlim_max > INT64_MAX ? INT64_MAX : (int64_t)files.rlim_max;
}

int vsocfs_bench_memfd(size_t size) {
  int fd = memfd_create("vsocfs-bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -errno;
  if (ftruncate(fd, (off_t)size) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) != 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

int vsocfs_bench_file(const char *directory, size_t size) {
  int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  int error = posix_fallocate(fd, 0, (off_t)size);
  if (error) close(fd);
  return error ? -error : fd;
}

int vsocfs_bench_eventfd(void) { return or_errno(eventfd(0, EFD_CLOEXEC)); }

int vsocfs_bench_socket_pair(int ends[2]) {
  return or_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
}

int vsocfs_bench_catch_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) return -errno;
  return or_errno(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int vsocfs_bench_spawn(const char *const *argv, const int *fds, int count, int error_fd) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none;
  pid_t pid;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, error_fd, 2);
  /* Our own descriptors are all below the first of these. */
  for (int i = 0; i < count; i++) {
    posix_spawn_file_actions_adddup2(&actions, fds[i], VSOCFS_BENCH_BOARD_FD + i);
  }
  posix_spawnattr_init(&attributes);
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  /* A group of its own: Ctrl-C goes to the benchmark, which then ends its children in order. */
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  int error = posix_spawn(&pid, argv[0], &actions, &attributes, (char *const *)argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error ? -error : pid;
}

int vsocfs_bench_pidfd(int pid) { return or_errno(syscall(SYS_pidfd_open, pid, 0)); }

int vsocfs_bench_kill(int pidfd, int signal) {
  return or_errno(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

int vsocfs_bench_reap(int pid) {
  int status = 0;
  pid_t result = waitpid(pid, &status, WNOHANG);
  return result < 0 ? -errno : result == 0 ? -EAGAIN : status;
}

int vsocfs_bench_await(const int *fds, int count, int milliseconds) {
  struct pollfd polls[16];
  if (count > 16) return -EINVAL;
  for (int i = 0; i < count; i++) polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
  int ready = poll(polls, (nfds_t)count, milliseconds);
  if (ready < 0) return -errno;
  for (int i = 0; i < count; i++) {
    if (polls[i].revents) return i;
  }
  return -ETIMEDOUT;
}

int vsocfs_bench_notify_socket(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
      setenv("NOTIFY_SOCKET", path, 1) != 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

int vsocfs_bench_notify_read(int fd) {
  char text[512];
  ssize_t length = recv(fd, text, sizeof text - 1, 0);
  if (length < 0) return -errno;
  text[length] = '\0';
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    if (strcmp(line, "READY=1") == 0) return 1;
  }
  return 0;
}

int64_t vsocfs_bench_cpu_time(int pid) {
  clockid_t clock;
  struct timespec time;
  int error = clock_getcpuclockid(pid, &clock);
  if (error) return -error;
  if (clock_gettime(clock, &time) != 0) return -errno;
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int vsocfs_bench_confine(int pid, int index) {
  char path[64];
  int result = 0;
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *tasks = opendir(path);
  if (!tasks) return -errno;
  for (struct dirent *entry = readdir(tasks); entry; entry = readdir(tasks)) {
    int tid = atoi(entry->d_name);
    if (tid == 0) continue;
    int error = confine(tid, index);
    if (error && error != -ESRCH) result = error;
  }
  closedir(tasks);
  return result;
}

int vsocfs_bench_detach_mount(const char *path) {
  return or_errno(umount2(path, MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW));
}

bool vsocfs_bench_is_mounted(const char *path) {
  char line[4096];
  bool found = false;
  size_t length = strlen(path);
  FILE *mounts = fopen("/proc/self/mounts", "re");
  if (!mounts) return false;
  while (!found && fgets(line, sizeof line, mounts)) {
    char *at = strchr(line, ' ');
    found = at && strncmp(at + 1, path, length) == 0 && at[1 + length] == ' ';
  }
  fclose(mounts);
  return found;
}
