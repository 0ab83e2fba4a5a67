/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allocator of buffers, as a graphics stack has one: takes a free area of a managed region, puts
 * something there and lends it to another process, which knows nothing but the descriptor.
 *
 *   cc $(pkg-config --cflags vsocfs) -o allocate allocate.c
 *   ./allocate /mnt/vsoc/manager /mnt/vsoc/buffers hello
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vsoc_shm.h"

#define AREA_SIZE 65536u

static void die(const char *what) {
  perror(what);
  exit(1);
}

static int open_data(const char *directory, struct vsoc_device_region *region) {
  char path[4096];
  snprintf(path, sizeof path, "%s/data", directory);
  int fd = open(path, O_RDWR);
  if (fd < 0) die(path);
  if (ioctl(fd, VSOC_DESCRIBE_REGION, region) < 0) die("VSOC_DESCRIBE_REGION");
  return fd;
}

/* Descriptors go from process to process in messages of a UNIX socket. */
union control {
  char bytes[CMSG_SPACE(sizeof(int))];
  struct cmsghdr align;
};

static void send_descriptor(int socket, int fd) {
  union control control = {0};
  char byte = 0;
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  control.align = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.align), &fd, sizeof fd);
  if (sendmsg(socket, &message, 0) != 1) die("sendmsg");
}

static int receive_descriptor(int socket) {
  union control control;
  char byte;
  int fd;
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  if (recvmsg(socket, &message, 0) != 1 || message.msg_controllen < sizeof control) die("recvmsg");
  memcpy(&fd, CMSG_DATA(&control.align), sizeof fd);
  return fd;
}

/* The borrower: asks what it was given, and maps that. */
static int borrow(int socket) {
  int fd = receive_descriptor(socket);
  struct fd_scoped_permission permission;
  if (ioctl(fd, VSOC_GET_FD_SCOPED_PERMISSION, &permission) < 0) die("GET_FD_SCOPED_PERMISSION");
  uint32_t size = permission.end_offset - permission.begin_offset;
  char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (area == MAP_FAILED) die("mmap");
  printf("0x%x-0x%x: %s\n", permission.begin_offset, permission.end_offset, area);
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: allocate MANAGER-DIRECTORY REGION-DIRECTORY TEXT\n");
    return 2;
  }
  struct vsoc_device_region manager, region;
  int manager_fd = open_data(argv[1], &manager);
  int fd = open_data(argv[2], &region);

  /* One owner word of the manager for each area, in a row. Whoever gets there first has it. */
  struct fd_scoped_permission_arg claim = {
      .perm = {.owner_offset = manager.offset_of_region_data, .owned_value = (uint32_t)getpid()},
      .managed_region_fd = fd};
  claim.perm.begin_offset = region.offset_of_region_data;
  while (1) {
    claim.perm.end_offset = claim.perm.begin_offset + AREA_SIZE;
    if (ioctl(manager_fd, VSOC_CREATE_FD_SCOPED_PERMISSION, &claim) == 0) break;
    if (errno != EAGAIN) die("CREATE_FD_SCOPED_PERMISSION"); /* ERANGE: that was the last one */
    claim.perm.begin_offset += AREA_SIZE;
    claim.perm.owner_offset += 4;
  }

  /* From here on this descriptor is the area. */
  char *area = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (area == MAP_FAILED) die("mmap");
  snprintf(area, AREA_SIZE, "%s", argv[3]);

  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) < 0) die("socketpair");
  pid_t borrower = fork();
  if (borrower < 0) die("fork");
  if (borrower == 0) {
    close(fd);
    exit(borrow(ends[1]));
  }
  send_descriptor(ends[0], fd);
  /* The area lives as long as the last descriptor, which need not be ours. */
  munmap(area, AREA_SIZE);
  close(fd);
  int status;
  waitpid(borrower, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
