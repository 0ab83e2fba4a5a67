/* SPDX-License-Identifier: Apache-2.0 */
/* Permissions on areas of managed regions: claims in every way that there is, and descriptors that
 * travel. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "permissions.h"
#include "vsoc_shm.h"
#include "vsocfs_ioctl.h"

enum { PAGE = 4096 };

int claim_area(const char *way, int fd, struct fd_scoped_permission_arg argument) {
  if (!strcmp(way, "ioctl")) return ioctl(fd, VSOC_CREATE_FD_SCOPED_PERMISSION, &argument);
  if (!strcmp(way, "sized")) return ioctl(fd, VSOCFS_CREATE_PERMISSION, &argument);
  char line[80], named[16] = "";
  if (!strcmp(way, "named"))
    snprintf(named, sizeof named, " %u", (unsigned)argument.managed_region_fd);
  int length = snprintf(line, sizeof line, "claim 0x%x %u 0x%x %u%s\n",
                        argument.perm.begin_offset, argument.perm.end_offset,
                        argument.perm.owner_offset, argument.perm.owned_value, named);
  ssize_t count = write(fd, line, (size_t)length);
  if (count >= 0 && count != length) errno = EIO;
  return count == length ? 0 : -1;
}

int release_area(const char *way, int fd) {
  if (strcmp(way, "text") != 0) return ioctl(fd, VSOCFS_RELEASE_PERMISSION);
  return write(fd, "release\n", 8) == 8 ? 0 : -1;
}

/* BEGIN END OWNER VALUE [MANAGED_FD] */
static struct fd_scoped_permission_arg argument_of(int argc, char **argv) {
  return (struct fd_scoped_permission_arg){
      .perm = {.begin_offset = (uint32_t)number(argv[0]),
               .end_offset = (uint32_t)number(argv[1]),
               .owner_offset = (uint32_t)number(argv[2]),
               .owned_value = (uint32_t)number(argv[3])},
      .managed_region_fd = argc > 4 ? (int32_t)number(argv[4]) : -1,
  };
}

/* claim ioctl|sized|text|named FD BEGIN END OWNER VALUE [MANAGED_FD] */
static void verb_claim(int argc, char **argv, struct reply *reply) {
  reply_result(reply,
               claim_area(argv[1], descriptor(argv[2]), argument_of(argc - 3, argv + 3)));
}

static int64_t microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* claim-until MILLISECONDS WAY FD BEGIN END OWNER VALUE [MANAGED_FD]: asks again for as long as it is
 * held; the microseconds that it took. */
static void verb_claim_until(int argc, char **argv, struct reply *reply) {
  const struct fd_scoped_permission_arg argument = argument_of(argc - 4, argv + 4);
  int64_t start = microseconds(), end = start + number(argv[1]) * 1000;
  int fd = descriptor(argv[3]), result;
  while ((result = claim_area(argv[2], fd, argument)) && errno == EAGAIN && microseconds() < end) {
  }
  reply_result(reply, result ? result : microseconds() - start);
}

/* Memory of which only the first `count` bytes are there, in front of a page that is not. */
static void *cut_off(size_t count, const void *bytes) {
  char *pages =
      mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return NULL;
  munmap(pages + PAGE, PAGE);
  if (bytes) memcpy(pages + PAGE - count, bytes, count);
  return pages + PAGE - count;
}

/* claim-cut ioctl|sized COUNT FD BEGIN END OWNER VALUE [MANAGED_FD]: with an argument of which only so
 * many bytes are in memory. */
static void verb_claim_cut(int argc, char **argv, struct reply *reply) {
  const struct fd_scoped_permission_arg argument = argument_of(argc - 4, argv + 4);
  unsigned long request =
      strcmp(argv[1], "sized") ? VSOC_CREATE_FD_SCOPED_PERMISSION : VSOCFS_CREATE_PERMISSION;
  void *at = cut_off((size_t)number(argv[2]), &argument);
  reply_result(reply, ioctl(descriptor(argv[3]), request, at));
}

/* permission FD [COUNT]: as ioctl 1 gives it; with COUNT, to memory of which only so many bytes are
 * there. */
static void verb_permission(int argc, char **argv, struct reply *reply) {
  struct fd_scoped_permission permission;
  memset(&permission, 0xaa, sizeof permission);
  void *at = argc > 2 ? cut_off((size_t)number(argv[2]), NULL) : &permission;
  if (ioctl(descriptor(argv[1]), VSOC_GET_FD_SCOPED_PERMISSION, at)) {
    reply_error(reply, errno);
    return;
  }
  reply_format(reply, "0x%08x 0x%08x 0x%08x 0x%08x", permission.begin_offset,
               permission.end_offset, permission.owner_offset, permission.owned_value);
}

/* release ioctl|text FD */
static void verb_release(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, release_area(argv[1], descriptor(argv[2])));
}

/* permission-numbers: as this program was compiled. */
static void verb_permission_numbers(int argc, char **argv, struct reply *reply) {
  (void)argc, (void)argv;
  reply_format(reply, "%x %x %x %x", (unsigned)VSOC_CREATE_FD_SCOPED_PERMISSION,
               (unsigned)VSOC_GET_FD_SCOPED_PERMISSION, (unsigned)VSOCFS_CREATE_PERMISSION,
               (unsigned)VSOCFS_RELEASE_PERMISSION);
}

/* Descriptors that travel. */

static int mailbox_address(const char *path, struct sockaddr_un *address) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address->sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(address->sun_path, path);
  return 0;
}

/* mailbox PATH: a socket to which others send descriptors. */
static void verb_mailbox(int argc, char **argv, struct reply *reply) {
  struct sockaddr_un address;
  (void)argc;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (mailbox_address(argv[1], &address) ||
      bind(fd, (struct sockaddr *)&address, sizeof address)) {
    reply_error(reply, errno);
    return;
  }
  reply_result(reply, fd);
}

union rights {
  char buffer[CMSG_SPACE(sizeof(int))];
  struct cmsghdr align;
};

/* send-fd PATH FD: into a mailbox, where it stays until it is taken out. */
static void verb_send_fd(int argc, char **argv, struct reply *reply) {
  struct sockaddr_un address;
  union rights rights = {{0}};
  char byte = 'd';
  int sent = (int)number(argv[2]);
  (void)argc;
  struct iovec data = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_name = &address,
                           .msg_namelen = sizeof address,
                           .msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = rights.buffer,
                           .msg_controllen = sizeof rights.buffer};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof sent);
  memcpy(CMSG_DATA(header), &sent, sizeof sent);
  if (mailbox_address(argv[1], &address)) {
    reply_error(reply, errno);
    return;
  }
  int from = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ssize_t result = sendmsg(from, &message, 0);
  int error = errno;
  close(from);
  errno = error;
  reply_result(reply, result);
}

/* receive-fd MAILBOX: the descriptor's number here. */
static void verb_receive_fd(int argc, char **argv, struct reply *reply) {
  union rights rights;
  char byte;
  int received;
  (void)argc;
  struct iovec data = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = rights.buffer,
                           .msg_controllen = sizeof rights.buffer};
  if (recvmsg((int)number(argv[1]), &message, MSG_CMSG_CLOEXEC) != 1) {
    reply_error(reply, errno);
    return;
  }
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS) {
    reply_error(reply, ENOMSG);
    return;
  }
  memcpy(&received, CMSG_DATA(header), sizeof received);
  reply_result(reply, received);
}

/* fork: a child that has all that this process has, and does nothing: its pid. It ends by itself if
 * whoever asked for it does not end it. */
static void verb_fork(int argc, char **argv, struct reply *reply) {
  (void)argc, (void)argv;
  pid_t pid = fork();
  if (pid == 0) {
    alarm(120);
    close_range(0, 2, 0);
    while (1) pause();
  }
  reply_result(reply, pid);
}

/* end-child PID: kills it, and waits for its end. */
static void verb_end_child(int argc, char **argv, struct reply *reply) {
  (void)argc;
  pid_t pid = (pid_t)number(argv[1]);
  if (kill(pid, SIGKILL) || waitpid(pid, NULL, 0) != pid) {
    reply_error(reply, errno);
    return;
  }
  reply_result(reply, 0);
}

/* inherit FD: programs that are executed get it. */
static void verb_inherit(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, fcntl((int)number(argv[1]), F_SETFD, 0));
}

/* execute: this program once more in this process, which goes on with the next command. */
static void verb_execute(int argc, char **argv, struct reply *reply) {
  char *arguments[] = {argv[0], NULL};
  (void)argc;
  reply_result(reply, 0);
  print_reply(NULL, reply);
  execv("/proc/self/exe", arguments);
  _exit(4);
}

/* socket: any descriptor that is no file. */
static void verb_socket(int argc, char **argv, struct reply *reply) {
  (void)argc, (void)argv;
  reply_result(reply, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

const struct verb permission_verbs[] = {{"claim", 6, verb_claim},
                                        {"claim-until", 7, verb_claim_until},
                                        {"claim-cut", 7, verb_claim_cut},
                                        {"permission", 1, verb_permission},
                                        {"release", 2, verb_release},
                                        {"permission-numbers", 0, verb_permission_numbers},
                                        {"mailbox", 1, verb_mailbox},
                                        {"send-fd", 2, verb_send_fd},
                                        {"receive-fd", 1, verb_receive_fd},
                                        {"fork", 0, verb_fork},
                                        {"end-child", 1, verb_end_child},
                                        {"inherit", 1, verb_inherit},
                                        {"execute", 0, verb_execute},
                                        {"socket", 0, verb_socket},
                                        {NULL, 0, NULL}};
