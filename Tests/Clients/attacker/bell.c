/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bell that cannot be rung.
 *
 *   bell SOCKET    becomes a machine there, fills its own bell, and then clears O_NONBLOCK without end; says
 *                  `ready`, and ends at the end of its standard input
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attacker.h"

/* The descriptor that comes with the next message, or -1; the number in it. */
static int next_message(int socket, int64_t *number) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec data = {.iov_base = number, .iov_len = sizeof *number};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != sizeof *number) fail("recvmsg");
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  int fd = -1;
  if (header) memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

int attack_bell(int argc, char **argv) {
  (void)argc;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) < 0)
    fail(argv[1]);
  int64_t number = 0, own = 0;
  next_message(connection, &number);
  if (number != 0) {
    say("refused");
    return 0;
  }
  next_message(connection, &own);
  int bell;
  do bell = next_message(connection, &number);
  while (number != own);
  uint64_t most = UINT64_MAX - 1;
  fcntl(bell, F_SETFL, O_RDWR | O_NONBLOCK);
  (void)!write(bell, &most, sizeof most);
  say("ready");
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  do {
    for (int i = 0; i < 1000; i++) fcntl(bell, F_SETFL, O_RDWR);
  } while (poll(&input, 1, 0) == 0);
  return 0;
}
