/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "CLinux.h"
#include "result.h"

static int read_word(int pid, uint64_t address, int32_t *word) {
  struct iovec local = {word, sizeof *word}, remote = {(void *)(uintptr_t)address, sizeof *word};
  ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);
  if (n < 0) return -errno;
  return (size_t)n == sizeof *word ? 0 : -EFAULT;
}

/* What the kernel's FUSE makes of a node: its id in two halves, and a generation. */
struct fuse_file_handle {
  struct file_handle head;
  uint32_t words[3];
};
enum { FUSE_FILE_HANDLE_TYPE = 0x81 };

/* The FUSE node that a descriptor of a thread is open for, if it is one of that file system: 0, or -errno
 * (-ENODEV: it is not, -EBADF: it is open for nothing, O_PATH). Asks the kernel only: nothing of a foreign
 * file is opened, and no daemon waited for. */
static int find_node(int pid, int fd, int device, uint64_t *node) {
  char path[64];
  struct stat link;
  struct statx file;
  snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
  /* The mode of the link tells for what the descriptor is open. */
  if (lstat(path, &link) < 0) return -errno;
  if (!(link.st_mode & 0600)) return -EBADF;
  int place = open(path, O_PATH | O_CLOEXEC);
  if (place < 0) return -errno;
  int result = -ENODEV;
  /* Of what is known already: nobody's daemon is asked. */
  if (statx(place, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &file) == 0 &&
      file.stx_dev_major == 0 && file.stx_dev_minor == (uint32_t)device) {
    struct fuse_file_handle handle = {.head.handle_bytes = sizeof handle.words};
    int mount;
    result = or_errno(name_to_handle_at(place, "", &handle.head, &mount, AT_EMPTY_PATH));
    if (result == 0 && handle.head.handle_type != FUSE_FILE_HANDLE_TYPE) result = -ENODEV;
    memcpy(handle.words, handle.head.f_handle, sizeof handle.words);
    *node = (uint64_t)handle.words[0] << 32 | handle.words[1];
  }
  close(place);
  return result;
}

static void find_process(int thread, struct vsocfs_seen *seen) {
  /* Both lines are among the first, and what a claim waits for is worth no more than those. */
  char path[32], text[512];
  snprintf(path, sizeof path, "/proc/%d/status", thread);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return;
  text[n] = 0;
  const char *name = strstr(text, "Name:\t"), *process = strstr(text, "\nTgid:\t");
  if (name == text)
    snprintf(seen->name, sizeof seen->name, "%.*s", (int)strcspn(name + 6, "\n"), name + 6);
  if (process) seen->process = atoi(process + 7);
}

void vsocfs_look(const struct vsocfs_look *look, struct vsocfs_seen *seen) {
  int32_t descriptor = look->descriptor;
  memset(seen, 0, sizeof *seen);
  seen->process = look->thread;
  strcpy(seen->name, "?");
  /* A thread of another pid namespace has no number here. */
  bool has_number = look->thread > 0;
  if (look->what & VSOCFS_LOOK_WORD) {
    seen->word_error = has_number ? read_word(look->thread, look->address, &descriptor) : -EPERM;
    if (seen->word_error) return;
  }
  if (look->what & VSOCFS_LOOK_NODE) {
    seen->node_error = has_number
                           ? find_node(look->thread, descriptor, look->device, &seen->node)
                           : -EACCES;
    if (seen->node_error) return;
  }
  if (has_number) find_process(look->thread, seen);
}

int vsocfs_look_send(int socket, const struct vsocfs_look *look) {
  return send(socket, look, sizeof *look, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 1;
}

int vsocfs_look_receive(int socket, struct vsocfs_seen *seen) {
  ssize_t n = recv(socket, seen, sizeof *seen, MSG_DONTWAIT);
  if (n < 0) return -errno;
  if (n == 0) return 0;
  seen->name[sizeof seen->name - 1] = 0;
  return n == sizeof *seen ? 1 : -EPROTO;
}

_Noreturn void vsocfs_look_run(int socket) {
  struct vsocfs_look look;
  struct vsocfs_seen seen;
  sigset_t signals;
  sigfillset(&signals);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  prctl(PR_SET_NAME, "vsocfs-look");
  if (vsocfs_detach_standard_streams() || chdir("/")) _exit(1);
  if (socket != 3 && dup3(socket, 3, O_CLOEXEC) < 0) _exit(1);
  if (close_range(4, ~0u, 0)) _exit(1);
  /* No more than what it is there for. */
  if (vsocfs_keep_capabilities(1u << VSOCFS_CAP_SYS_PTRACE | 1u << VSOCFS_CAP_DAC_OVERRIDE)) _exit(1);
  while (1) {
    ssize_t n = recv(3, &look, sizeof look, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n != sizeof look) _exit(0);
    vsocfs_look(&look, &seen);
    if (send(3, &seen, sizeof seen, MSG_NOSIGNAL) != sizeof seen) _exit(0);
  }
}
