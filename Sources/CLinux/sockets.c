/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "CLinux.h"
#include "result.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

static int address_of(const char *path, struct sockaddr_un *address) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (strlen(path) >= sizeof address->sun_path) return -ENAMETOOLONG;
  strcpy(address->sun_path, path);
  return 0;
}

int vsocfs_unix_bind(const char *path, unsigned mode) {
  struct sockaddr_un address;
  int result = address_of(path, &address);
  if (result < 0) return result;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  /* The file gets the mode that the socket has: there is no moment with another one. */
  if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      listen(fd, 1024) < 0) {
    result = -errno;
    close(fd);
    return result;
  }
  return fd;
}

int vsocfs_unix_connect(const char *path) {
  struct sockaddr_un address;
  int result = address_of(path, &address);
  if (result < 0) return result;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  result = -errno;
  close(fd);
  return result;
}

int vsocfs_accept(int socket) {
  return or_errno(accept4(socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

int vsocfs_peer_user(int socket, uint32_t *user) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return -errno;
  *user = peer.uid;
  return 0;
}

int vsocfs_send_message(int socket, const void *bytes, size_t length, const int *descriptors,
                        int count) {
  union {
    char bytes[CMSG_SPACE(sizeof(int) * VSOCFS_MESSAGE_DESCRIPTORS)];
    struct cmsghdr header;
  } control;
  struct iovec data = {.iov_base = (void *)bytes, .iov_len = length};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
  if (count > VSOCFS_MESSAGE_DESCRIPTORS) return -EINVAL;
  if (count > 0) {
    size_t size = sizeof(int) * (size_t)count;
    memset(&control, 0, sizeof control);
    control.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(size)};
    memcpy(CMSG_DATA(&control.header), descriptors, size);
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(size);
  }
  ssize_t n = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0) return -errno;
  /* So few bytes go as a whole or not at all. */
  return (size_t)n == length ? 0 : -EPIPE;
}

int vsocfs_clone_mount(const char *directory) {
  return or_errno(syscall(SYS_open_tree, AT_FDCWD, directory,
                          OPEN_TREE_CLONE | O_CLOEXEC | AT_NO_AUTOMOUNT));
}

int vsocfs_epoll_watch(int epoll, int fd, uint64_t token, _Bool writable, _Bool again) {
  struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.u64 = token};
  return or_errno(epoll_ctl(epoll, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event));
}
