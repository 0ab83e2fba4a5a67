/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "CLinux.h"

enum { ENTRIES = 64 };
/* Of requests whose end is of no interest. */
static const uint64_t NOBODY = UINT64_MAX;

struct vsocfs_watch {
  int ring;
  void *queues[3];
  size_t sizes[3];
  struct io_uring_sqe *requests;
  struct io_uring_cqe *results;
  _Atomic uint32_t *request_tail, *result_head, *result_tail;
  uint32_t *request_indices;
  uint32_t request_mask, result_mask;
};

static void *map(struct vsocfs_watch *watch, int index, size_t size, off_t offset) {
  void *queue =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, watch->ring, offset);
  if (queue == MAP_FAILED) return NULL;
  watch->queues[index] = queue;
  watch->sizes[index] = size;
  return queue;
}

void vsocfs_watch_destroy(struct vsocfs_watch *watch) {
  for (int i = 0; i < 3; i++)
    if (watch->queues[i]) munmap(watch->queues[i], watch->sizes[i]);
  if (watch->ring >= 0) close(watch->ring);
  free(watch);
}

int vsocfs_watch_create(struct vsocfs_watch **result) {
  struct vsocfs_watch *watch = calloc(1, sizeof *watch);
  if (!watch) return -ENOMEM;
  struct io_uring_params setup = {0};
  watch->ring = (int)syscall(SYS_io_uring_setup, ENTRIES, &setup);
  int error = watch->ring < 0 ? errno : 0;
  if (!error && !(setup.features & IORING_FEAT_NODROP)) error = ENOSYS;
  if (!error) {
    char *requests = map(watch, 0, setup.sq_off.array + setup.sq_entries * sizeof(uint32_t),
                         IORING_OFF_SQ_RING);
    char *results =
        map(watch, 1, setup.cq_off.cqes + setup.cq_entries * sizeof(struct io_uring_cqe),
            IORING_OFF_CQ_RING);
    watch->requests =
        map(watch, 2, setup.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    if (!requests || !results || !watch->requests) {
      error = ENOMEM;
    } else {
      watch->request_tail = (void *)(requests + setup.sq_off.tail);
      watch->request_mask = *(uint32_t *)(requests + setup.sq_off.ring_mask);
      watch->request_indices = (uint32_t *)(requests + setup.sq_off.array);
      watch->result_head = (void *)(results + setup.cq_off.head);
      watch->result_tail = (void *)(results + setup.cq_off.tail);
      watch->result_mask = *(uint32_t *)(results + setup.cq_off.ring_mask);
      watch->results = (struct io_uring_cqe *)(results + setup.cq_off.cqes);
    }
  }
  if (error) {
    vsocfs_watch_destroy(watch);
    return -error;
  }
  *result = watch;
  return 0;
}

/* Each request is handed in at once, so that there is always room. */
static int submit(struct vsocfs_watch *watch, const struct io_uring_sqe *request) {
  uint32_t tail = atomic_load_explicit(watch->request_tail, memory_order_relaxed);
  uint32_t index = tail & watch->request_mask;
  watch->requests[index] = *request;
  watch->request_indices[index] = index;
  atomic_store_explicit(watch->request_tail, tail + 1, memory_order_release);
  long n;
  do {
    n = syscall(SYS_io_uring_enter, watch->ring, 1, 0, 0, NULL, 0);
  } while (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EBUSY));
  return n < 0 ? -errno : 0;
}

int vsocfs_watch_add(struct vsocfs_watch *watch, int event, uint64_t token) {
  struct io_uring_sqe request = {.opcode = IORING_OP_POLL_ADD,
                                 .fd = event,
                                 .len = IORING_POLL_ADD_MULTI,
                                 .poll32_events = POLLIN,
                                 .user_data = token};
  return submit(watch, &request);
}

int vsocfs_watch_remove(struct vsocfs_watch *watch, uint64_t token) {
  struct io_uring_sqe request = {
      .opcode = IORING_OP_POLL_REMOVE, .fd = -1, .addr = token, .user_data = NOBODY};
  return submit(watch, &request);
}

int vsocfs_watch_wait(struct vsocfs_watch *watch, uint64_t *tokens, _Bool *ended, int capacity) {
  uint32_t head = atomic_load_explicit(watch->result_head, memory_order_relaxed);
  while (head == atomic_load_explicit(watch->result_tail, memory_order_acquire)) {
    if (syscall(SYS_io_uring_enter, watch->ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0 &&
        errno != EINTR && errno != EAGAIN && errno != EBUSY)
      return -errno;
  }
  int count = 0;
  while (count < capacity &&
         head != atomic_load_explicit(watch->result_tail, memory_order_acquire)) {
    struct io_uring_cqe result = watch->results[head++ & watch->result_mask];
    if (result.user_data == NOBODY || result.res == -ECANCELED) continue;
    tokens[count] = result.user_data;
    ended[count++] = !(result.flags & IORING_CQE_F_MORE);
  }
  atomic_store_explicit(watch->result_head, head, memory_order_release);
  return count;
}
