/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills a table, and then writes to it by many threads that wait for room.
 *
 *   park DOORBELL THREADS BYTES
 *
 * Says `filled`, and at each line of its standard input how many of the writes have not returned, and how
 * many were refused with which errno. Ends with its standard input.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attacker.h"

static int fd;
static char *text;
static size_t size;
static atomic_int refused, last_error;

static void *write_text(void *unused) {
  (void)unused;
  if (write(fd, text, size) < 0) {
    last_error = errno;
    refused++;
  }
  return NULL;
}

int attack_park(int argc, char **argv) {
  (void)argc;
  char line[64 * 16] = "", *end = line;
  int threads = (int)number(argv[2]), started = 0;
  size = (size_t)number(argv[3]);
  fd = open_or_fail(argv[1], O_WRONLY);
  text = malloc(size);
  if (!text) fail("memory");
  for (size_t i = 0; i < size; i++) text[i] = i & 1 ? ' ' : '4';
  for (int i = 0; i < 64; i++) end += sprintf(end, "%d ", 0x2000 + 4 * i);
  if (write(fd, line, (size_t)(end - line)) < 0) fail("fill");
  say("filled");
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 1 << 16);
  for (pthread_t thread; started < threads; started++)
    if (pthread_create(&thread, &small, write_text, NULL)) break;
  while (fgets(line, sizeof line, stdin))
    say("%d %d %s", started - refused, (int)refused, last_error ? strerrorname_np(last_error) : "-");
  return 0;
}
