/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that the daemon answers at once: ioctl, open and close. */
#define _GNU_SOURCE
#include "bench.h"
#include "CVsocABI.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WARM_UP = 32 };

/* TARGET region|baseline SAMPLES: MAYBE_SEND_INTERRUPT while an interrupt is in flight. */
int client_ioctl(int argc, char **argv) {
  (void)argc;
  int fd = open_target(argv[0], O_RDWR);
  long samples = number(argv[2]);
  if (strcmp(argv[1], "region") == 0) {
    struct vsoc_device_region region;
    char *memory = vsocfs_bench_client_map(argv[0], MAPPED_SIZE);
    if (ioctl(fd, VSOC_DESCRIBE_REGION, &region) != 0) client_fail("DESCRIBE_REGION");
    uint32_t offset = region.guest_to_host_signal_table.interrupt_signalled_offset;
    atomic_store((_Atomic uint32_t *)(void *)(memory + offset), 1);
  }
  for (long sample = -WARM_UP; sample < samples; sample++) {
    uint64_t begin = vsocfs_bench_now();
    int result = ioctl(fd, VSOC_MAYBE_SEND_INTERRUPT_TO_HOST);
    uint64_t end = vsocfs_bench_now();
    if (result == 0 || errno != EBUSY) client_fail("MAYBE_SEND_INTERRUPT returned %d", result);
    if (sample >= 0) vsocfs_bench_record(0, (double)(end - begin));
  }
  return 0;
}

/* TARGET first|next SAMPLES: open and close, while nobody or somebody else has the file open. */
int client_open(int argc, char **argv) {
  (void)argc;
  long samples = number(argv[2]);
  if (strcmp(argv[1], "next") == 0) open_target(argv[0], O_RDWR);
  for (long sample = -WARM_UP; sample < samples; sample++) {
    uint64_t begin = vsocfs_bench_now();
    int fd = open_target(argv[0], O_RDWR);
    close(fd);
    uint64_t end = vsocfs_bench_now();
    if (sample >= 0) vsocfs_bench_record(0, (double)(end - begin));
    nap(500); /* close does not wait for the daemon to hear of it */
  }
  return 0;
}
