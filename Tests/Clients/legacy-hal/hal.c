/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A graphics allocator and the process that it allocates for, as they are written for the original
 * driver: nothing but vsoc_shm.h, call 0 on the manager's device and call 1 on what was passed on.
 *
 *   hal MANAGER MANAGED FIRST_OWNER_WORD BUFFERS
 *
 * Gets as many buffers of two pages as are asked for, first fit, each with the owner word of its
 * number. Each goes to a child, which maps what its descriptor reaches, checks what the allocator has
 * drawn and answers with a drawing of its own. Says what came of it in one line each.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vsoc_shm.h"

_Static_assert(_IOC_SIZE(VSOC_CREATE_FD_SCOPED_PERMISSION) == 16, "the number says 16 bytes");
_Static_assert(sizeof(struct fd_scoped_permission_arg) == 20, "and 20 are passed");

enum { BUFFER = 8192 };

static void fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

static void pass_on(int socket, int fd) {
  char byte = 0, control[CMSG_SPACE(sizeof fd)] = {0};
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (sendmsg(socket, &message, 0) != 1) fail("sendmsg");
}

static int take_over(int socket) {
  char byte, control[CMSG_SPACE(sizeof(int))];
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof control};
  int fd;
  if (recvmsg(socket, &message, 0) != 1) exit(0);
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

/* A buffer that this process has not allocated. */
static int use_buffer(int socket) {
  struct fd_scoped_permission permission;
  int fd = take_over(socket);
  if (ioctl(fd, VSOC_GET_FD_SCOPED_PERMISSION, &permission)) fail("call 1");
  size_t size = permission.end_offset - permission.begin_offset;
  char *pixels = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (pixels == MAP_FAILED) fail("mmap of a buffer");
  for (size_t i = 0; i < size; i++) {
    if (pixels[i] != (char)permission.owned_value) fail("another drawing");
  }
  memset(pixels, 0x3c, size);
  munmap(pixels, size);
  close(fd);
  printf("used 0x%x 0x%x 0x%x %u\n", permission.begin_offset, permission.end_offset,
         permission.owner_offset, permission.owned_value);
  fflush(stdout);
  return write(socket, "", 1) == 1;
}

int main(int argc, char **argv) {
  struct vsoc_device_region manager, managed;
  int pair[2];
  if (argc != 5) return 2;
  int manager_fd = open(argv[1], O_RDWR);
  if (manager_fd < 0) fail(argv[1]);
  if (ioctl(manager_fd, VSOC_DESCRIBE_REGION, &manager)) fail("call 4");
  uint32_t *words = mmap(NULL, manager.region_end_offset, PROT_READ | PROT_WRITE, MAP_SHARED,
                         manager_fd, 0);
  if (words == MAP_FAILED) fail("mmap of the manager");
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) fail("socketpair");
  pid_t child = fork();
  if (child == 0) {
    close(pair[0]);
    while (use_buffer(pair[1])) {
    }
    return 1;
  }
  close(pair[1]);

  uint32_t begin = 0, first_word = (uint32_t)strtoul(argv[3], NULL, 0);
  for (int buffer = 0; buffer < atoi(argv[4]); buffer++) {
    int fd = open(argv[2], O_RDWR);
    struct fd_scoped_permission_arg arg;
    if (fd < 0) fail(argv[2]);
    if (ioctl(fd, VSOC_DESCRIBE_REGION, &managed)) fail("call 4 on the managed region");
    if (!begin) begin = managed.offset_of_region_data;
    if (ioctl(fd, VSOC_GET_FD_SCOPED_PERMISSION, &arg.perm) != -1 || errno != ENOENT)
      fail("call 1 before call 0");
    for (;; begin += 4096) {
      arg.perm.begin_offset = begin;
      arg.perm.end_offset = begin + BUFFER;
      arg.perm.owner_offset = first_word + 4 * (uint32_t)buffer;
      arg.perm.owned_value = 0x41 + (uint32_t)buffer;
      arg.managed_region_fd = fd;
      if (!ioctl(manager_fd, VSOC_CREATE_FD_SCOPED_PERMISSION, &arg)) break;
      if (errno != EAGAIN) fail("call 0");
      printf("0x%x is taken\n", begin);
    }
    char *pixels = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char byte;
    if (pixels == MAP_FAILED) fail("mmap of the own buffer");
    memset(pixels, 0x41 + buffer, BUFFER);
    printf("allocated 0x%x, owner word %u\n", begin, words[arg.perm.owner_offset / 4]);
    fflush(stdout);
    pass_on(pair[0], fd);
    if (read(pair[0], &byte, 1) != 1) fail("the other process");
    if (pixels[0] != 0x3c || pixels[BUFFER - 1] != 0x3c) fail("the other drawing");
    /* Kept open to the end. */
  }
  close(pair[0]);
  if (waitpid(child, NULL, 0) != child) fail("waitpid");
  printf("done in %d bits\n", (int)sizeof(long) * 8);
  return 0;
}
