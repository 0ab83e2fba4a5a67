/* SPDX-License-Identifier: Apache-2.0 */
/* Participants outside the mount: those who ring it, those whom it rings, and who listens there. */
#define _GNU_SOURCE
#include "bench.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
  WARM_UP = 32,
  /* Microseconds in which a listener comes to sleep in its poll. */
  PAUSE = 200,
  /* Looks at the listener, a nap(50) each, after which a first ring is repeated. */
  PATIENCE = 400,
};

static int open_socket(const char *path, struct sockaddr_un *address) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  errno = 0;
  if (strlen(path) >= sizeof address->sun_path) client_fail("%s is too long for a socket", path);
  strcpy(address->sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) client_fail("socket");
  return fd;
}

int connect_socket(const char *path) {
  struct sockaddr_un address;
  int fd = open_socket(path, &address);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) client_fail("connect %s", path);
  return fd;
}

int listen_socket(const char *path) {
  struct sockaddr_un address;
  int fd = open_socket(path, &address);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0) {
    client_fail("listen at %s", path);
  }
  return fd;
}

/* Receives all of a message and up to `count` descriptors with it; those that did not come are -1. */
static void receive(int fd, void *bytes, size_t length, int *descriptors, size_t count) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(3 * sizeof(int))];
  } control;
  struct iovec vector = {.iov_base = bytes, .iov_len = length};
  struct msghdr message = {.msg_iov = &vector,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  for (size_t i = 0; i < count; i++) descriptors[i] = -1;
  errno = 0;
  ssize_t received = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL);
  if (received != (ssize_t)length) client_fail("the daemon's message: %zd bytes", received);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS) return;
  size_t size = header->cmsg_len - CMSG_LEN(0), most = count * sizeof(int);
  memcpy(descriptors, CMSG_DATA(header), size < most ? size : most);
}

/* --- Rings one way: a sample is the time from before the ring to the return of the listener's read --- */

/* TARGET SAMPLES */
int client_listen(int argc, char **argv) {
  (void)argc;
  struct bell bell = {.in = open_target(argv[0], O_RDWR), .polls = true};
  long samples = number(argv[1]);
  barrier(2);
  for (long sample = -WARM_UP; sample < samples; sample++) {
    uint64_t rung, end;
    atomic_store(&board->instant, 0);
    atomic_store(&board->turn, (uint32_t)(sample + WARM_UP + 1));
    do {
      await_ring(&bell);
      end = vsocfs_bench_now();
      rung = atomic_load(&board->instant);
    } while (rung == 0); /* by nobody whom we know, or a repeated first one */
    if (sample >= 0) vsocfs_bench_record(0, (double)(end - rung));
  }
  atomic_fetch_add(&board->turn, 1);
  return 0;
}

void ring_for_listener(void (*ring)(void), long samples) {
  barrier(2);
  for (uint32_t turn = 1; turn <= (uint32_t)samples + WARM_UP; turn++) {
    while (atomic_load(&board->turn) != turn) nap(50);
    nap(PAUSE);
    atomic_store(&board->instant, vsocfs_bench_now());
    ring();
    /* A peer that has just come may not know yet whom to ring. */
    for (int looks = 1; turn == 1 && atomic_load(&board->turn) == 1; looks++) {
      nap(50);
      if (looks % PATIENCE == 0) ring();
    }
  }
  /* The listener is not to see the end of who rings. */
  while (atomic_load(&board->turn) != (uint32_t)samples + WARM_UP + 1) nap(50);
}

static int rung; /* an eventfd */

static void ring_eventfd(void) {
  static const uint64_t one = 1;
  if (write(rung, &one, sizeof one) != sizeof one) client_fail("write to an eventfd");
}

/* TARGET SAMPLES */
int client_ring_eventfd(int argc, char **argv) {
  (void)argc;
  rung = open_target(argv[0], O_RDWR);
  ring_for_listener(ring_eventfd, number(argv[1]));
  return 0;
}

/* SOCKET REGION SAMPLES: a host client, which rings the guest end. */
int client_ring_host(int argc, char **argv) {
  (void)argc;
  int daemon = connect_socket(argv[0]), descriptors[3];
  size_t length = strlen(argv[1]);
  char name[2 + 16];
  uint32_t version;
  uint64_t zero;
  receive(daemon, &version, sizeof version, descriptors, 0);
  errno = 0;
  if (version != 0 || length > sizeof name - 2) client_fail("version %u", version);
  memcpy(name, &(int16_t){(int16_t)length}, 2);
  memcpy(name + 2, argv[1], length);
  if (write(daemon, name, 2 + length) != (ssize_t)(2 + length)) client_fail("the region's name");
  receive(daemon, &zero, sizeof zero, descriptors, 3);
  if (descriptors[2] < 0) client_fail("the daemon gave no descriptors");
  rung = descriptors[1];
  ring_for_listener(ring_eventfd, number(argv[2]));
  return 0;
}

/* --- Rings there and back --- */

/* SOCKET ROUND-TRIPS: does what QEMU does for a virtual machine, and answers each ring at once. */
int client_vm(int argc, char **argv) {
  (void)argc;
  static const uint64_t one = 1;
  int daemon = connect_socket(argv[0]);
  struct bell bell = {
      .in = -1, .out = -1, .polls = true, .message = (const char *)&one, .length = sizeof one};
  int64_t own = -1;
  for (int at = 0; bell.in < 0; at++) {
    int64_t value;
    int descriptor;
    receive(daemon, &value, sizeof value, &descriptor, 1);
    value = (int64_t)le64toh((uint64_t)value);
    /* The version, our id, -1 and the memory; then eventfds by ids, our own last. */
    if (at == 1) own = value;
    if (at <= 2) continue;
    if (value == own) bell.in = descriptor;
    if (value != own && bell.out < 0) bell.out = descriptor;
  }
  if (bell.out < 0) client_fail("nobody at the other end");
  ring_by_turns(&bell, 1, number(argv[1]));
  return 0;
}
