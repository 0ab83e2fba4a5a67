/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to sockets of the tree, or to the host socket.
 *
 *   idle COUNT SOCKET...    as many as it can get, in turn at each, which read nothing; says `N connected`, then
 *                           `N served`, and ends at the next line of its standard input, or its end
 *   flood SECONDS SOCKET    connects and closes without end; says `begins`, and how often at the end
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attacker.h"

static int try_to_connect(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return -1;
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

/* Whether it is served: its first message is no refusal, and it has not ended. */
static int is_served(int fd) {
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  signed char first;
  return poll(&wait, 1, 60000) == 1 && recv(fd, &first, 1, MSG_PEEK) == 1 && first == 0;
}

int attack_idle(int argc, char **argv) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  int count = (int)number(argv[1]), sockets = argc - 2, connected = 0, served = 0;
  int *fds = calloc((size_t)count, sizeof *fds);
  if (!fds) fail("memory");
  while (connected < count) {
    fds[connected] = try_to_connect(argv[2 + connected % sockets]);
    if (fds[connected] < 0) break;
    connected++;
  }
  say("%d connected", connected);
  for (int i = 0; i < connected; i++) served += is_served(fds[i]);
  say("%d served", served);
  getchar();
  return 0;
}

int attack_flood(int argc, char **argv) {
  (void)argc;
  const int64_t end = now() + number(argv[1]) * 1000000000;
  long count = 0;
  say("begins");
  while (now() < end) {
    int fd = try_to_connect(argv[2]);
    if (fd >= 0) close(fd);
    count++;
  }
  say("%ld", count);
  return 0;
}
