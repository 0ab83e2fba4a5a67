/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the host end of a region a question: stores a number, posts its offset through the mapping
 * and sleeps until the answer is there. See answer.py for the other side.
 *
 *   cc $(pkg-config --cflags vsocfs) -o ask ask.c
 *   ./ask /mnt/vsoc/demo 12
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vsoc_shm.h"

static void die(const char *what) {
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: ask REGION-DIRECTORY NUMBER\n");
    return 2;
  }
  char path[4096];
  snprintf(path, sizeof path, "%s/data", argv[1]);
  int fd = open(path, O_RDWR);
  if (fd < 0) die(path);

  struct vsoc_device_region region;
  if (ioctl(fd, VSOC_DESCRIBE_REGION, &region) < 0) die("VSOC_DESCRIBE_REGION");
  char *memory = mmap(NULL, region.region_end_offset, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) die("mmap");

  /* Two words of the region's data: the question, and the answer behind it. */
  uint32_t question = region.offset_of_region_data, answer = question + 4;
  _Atomic uint32_t *question_word = (_Atomic uint32_t *)(memory + question);
  _Atomic uint32_t *answer_word = (_Atomic uint32_t *)(memory + answer);
  uint32_t before = atomic_load(answer_word);
  atomic_store(question_word, (uint32_t)strtoul(argv[2], NULL, 0));

  /* Post: put the offset into a free slot, unless it stands there already. The exchange is needed
   * in both cases: it orders the store above before the receiver's look at that word. */
  struct vsoc_signal_table_layout table = region.guest_to_host_signal_table;
  _Atomic uint32_t *slots = (_Atomic uint32_t *)(memory + table.futex_uaddr_table_offset);
  uint32_t count = 1u << table.num_nodes_lg2, tries = 0;
  for (; tries < count; tries++) {
    _Atomic uint32_t *slot = &slots[(question / 4 + tries) % count];
    uint32_t seen = 0;
    if (atomic_compare_exchange_strong(slot, &seen, question)) break;
    if (seen == question && atomic_compare_exchange_strong(slot, &seen, question)) break;
  }
  if (tries == count) {
    fprintf(stderr, "the table is full\n");
    return 1;
  }
  /* Ring, if no interrupt is in flight. Only now does the daemon hear of it. */
  _Atomic uint32_t *signalled = (_Atomic uint32_t *)(memory + table.interrupt_signalled_offset);
  if (atomic_exchange(signalled, 1) == 0 && ioctl(fd, VSOC_SEND_INTERRUPT_TO_HOST) < 0) {
    die("VSOC_SEND_INTERRUPT_TO_HOST");
  }

  struct vsoc_cond_wait wait = {
      .offset = answer, .value = before, .wait_type = VSOC_WAIT_IF_EQUAL};
  if (ioctl(fd, VSOC_COND_WAIT, &wait) < 0) die("VSOC_COND_WAIT");
  printf("%u\n", atomic_load(answer_word));
  return 0;
}
