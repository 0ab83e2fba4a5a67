/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "CLinux.h"
#include "result.h"

enum { CALLS = 128 };

int vsocfs_ringer_create(uint64_t *ringer) {
  aio_context_t context = 0;
  if (syscall(SYS_io_setup, CALLS, &context) < 0) return -errno;
  *ringer = (uint64_t)context;
  return 0;
}

void vsocfs_ringer_destroy(uint64_t ringer) { syscall(SYS_io_destroy, (aio_context_t)ringer); }

int vsocfs_ring(uint64_t ringer, int readable, int event) {
  struct iocb call = {.aio_lio_opcode = IOCB_CMD_PREAD,
                      .aio_fildes = (uint32_t)readable,
                      .aio_flags = IOCB_FLAG_RESFD,
                      .aio_resfd = (uint32_t)event};
  struct iocb *calls[] = {&call};
  struct io_event results[CALLS];
  int attempts = 2;
  while (1) {
    long submitted = syscall(SYS_io_submit, (aio_context_t)ringer, 1, calls);
    int error = submitted < 0 ? errno : 0;
    /* Also those of other threads, whose results are of no more interest. */
    syscall(SYS_io_getevents, (aio_context_t)ringer, 0L, (long)CALLS, results, NULL);
    if (submitted == 1) return 0;
    if (error != EAGAIN || --attempts == 0) return -(error ? error : EAGAIN);
  }
}

int vsocfs_epoll_add_edges(int epoll, int fd, uint64_t token) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u64 = token};
  return or_errno(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

int vsocfs_epoll_add_urgent(int epoll, int fd, uint64_t token) {
  struct epoll_event event = {.events = EPOLLPRI, .data.u64 = token};
  return or_errno(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

int vsocfs_epoll_remove(int epoll, int fd) {
  return or_errno(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL));
}
