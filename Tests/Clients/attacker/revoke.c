/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a mapping of an area that it gives up, by a write behind its end that does not come to its own.
 *
 *   keep-mapping DATA SLOW_PAGE
 *
 * Says what came of the release and what the mapping shows then, and keeps both until a line comes on
 * standard input; then it lets the mapping go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "areas.h"
#include "attacker.h"

static int fd;
static char *page;
static sigjmp_buf after_fault;

static void *write_behind(void *argument) {
  (void)argument;
  (void)!pwrite(fd, page, PAGE, 1 << 20);
  return NULL;
}

static void on_fault(int number) { siglongjmp(after_fault, number); }

static const char *shown(const volatile char *memory) {
  static char text[6];
  if (sigsetjmp(after_fault, 1)) return "fault";
  for (int i = 0; i < 5; i++) text[i] = memory[i];
  return text;
}

int attack_keep_mapping(int argc, char **argv) {
  (void)argc;
  signal(SIGBUS, on_fault);
  fd = open_or_fail(argv[1], O_RDWR);
  page = slow_pages(argv[2], 1, PROT_READ);
  if ((errno = claim(fd, 0x2000, 2, 0x2000, 7))) fail("claim");
  char *memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("mmap");
  memcpy(memory, "first", 5);
  pthread_t writer;
  if ((errno = pthread_create(&writer, NULL, write_behind, NULL))) fail("thread");
  usleep(200000);
  int error = release(fd);
  say("%s %s", error ? strerrorname_np(error) : "0", shown(memory));
  char line[16];
  if (!fgets(line, sizeof line, stdin)) return 1;
  memcpy(memory, "again", 5);
  munmap(memory, 2 * PAGE);
  say("unmapped");
  pause();
  return 0;
}
