/* SPDX-License-Identifier: Apache-2.0 */
/* Memory and calls that no peer answers: first touch, streaming, pread/pwrite, exchange. */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Samples of work are short, so that most of them are not cut by a time slice of somebody else. */
enum { PAGE = 4096, MIB = 1 << 20, CHUNK = 1 << 16 };

/* TARGET SIZE: the time of storing a byte to each page of a fresh file; a sample is a page's, taken
 * over 16 of them. */
int client_touch(int argc, char **argv) {
  (void)argc;
  size_t size = (size_t)number(argv[1]);
  volatile char *memory = vsocfs_bench_client_map(argv[0], size);
  for (size_t chunk = 0; chunk < size; chunk += CHUNK) {
    uint64_t begin = vsocfs_bench_now();
    for (size_t at = chunk; at < chunk + CHUNK; at += PAGE) memory[at + PAGE - 1] = 1;
    vsocfs_bench_record(0, (double)(vsocfs_bench_now() - begin) / (CHUNK / PAGE));
  }
  return 0;
}

/* TARGET SIZE: the time of the first load from pages of a fresh file, of which none is read ahead or
 * mapped along with another. */
int client_load(int argc, char **argv) {
  (void)argc;
  enum { STRIDE = MIB, WINDOW = 16 * PAGE };
  size_t size = (size_t)number(argv[1]);
  volatile char *memory = vsocfs_bench_client_map(argv[0], size);
  if (madvise((void *)memory, size, MADV_RANDOM) != 0) client_fail("madvise");
  for (size_t first = 0; first < STRIDE; first += WINDOW) {
    for (size_t at = first; at < size; at += STRIDE) {
      uint64_t begin = vsocfs_bench_now();
      (void)memory[at];
      vsocfs_bench_record(0, (double)(vsocfs_bench_now() - begin));
    }
  }
  return 0;
}

/* TARGET SIZE store|sync SAMPLES: stores to each page of a MiB and has it written back. A sample is
 * one of the two, of a page or of the MiB. */
int client_sync(int argc, char **argv) {
  (void)argc;
  size_t size = (size_t)number(argv[1]);
  bool stores = strcmp(argv[2], "store") == 0;
  long samples = number(argv[3]);
  char *memory = vsocfs_bench_client_map(argv[0], size);
  size_t start = MIB;
  memset(memory + start, 1, size - start);
  if (msync(memory + start, size - start, MS_SYNC) != 0) client_fail("msync");
  for (long sample = 0; sample < samples; sample++) {
    volatile char *at = memory + start;
    uint64_t begin = vsocfs_bench_now();
    for (size_t page = 0; page < MIB; page += PAGE) at[page] = (char)sample;
    uint64_t stored = vsocfs_bench_now();
    if (msync(memory + start, MIB, MS_SYNC) != 0) client_fail("msync");
    uint64_t synced = vsocfs_bench_now();
    vsocfs_bench_record(0, stores ? (double)(stored - begin) / (MIB / PAGE)
                                  : (double)(synced - stored));
    start += MIB;
    if (start + MIB > size) start = MIB;
  }
  return 0;
}

/* TARGET SIZE read|write PASSES: sequential passes; a sample is the time of one MiB. */
int client_stream(int argc, char **argv) {
  (void)argc;
  enum { WORDS = MIB / sizeof(uint64_t) };
  size_t size = (size_t)number(argv[1]);
  bool writes = strcmp(argv[2], "write") == 0;
  long passes = number(argv[3]);
  char *memory = vsocfs_bench_client_map(argv[0], size);
  /* Not over the region's header and tables, which are in the first MiB. */
  memset(memory + MIB, 1, size - MIB);
  for (long pass = 0; pass < passes; pass++) {
    for (size_t at = MIB; at < size; at += MIB) {
      uint64_t *data = (uint64_t *)(void *)(memory + at), sum = 0;
      uint64_t begin = vsocfs_bench_now();
      if (writes) {
        for (size_t i = 0; i < WORDS; i++) data[i] = (uint64_t)pass;
      } else {
        for (size_t i = 0; i < WORDS; i++) sum += data[i];
      }
      __asm__ volatile("" ::"r"(sum) : "memory");
      vsocfs_bench_record(0, (double)(vsocfs_bench_now() - begin));
    }
  }
  return 0;
}

/* TARGET FILE-SIZE read|write BYTES SAMPLES: pread or pwrite walking through the file. */
int client_transfer(int argc, char **argv) {
  (void)argc;
  int fd = open_target(argv[0], O_RDWR);
  size_t size = (size_t)number(argv[1]), bytes = (size_t)number(argv[3]);
  bool writes = strcmp(argv[2], "write") == 0;
  long samples = number(argv[4]);
  /* Short calls are timed in batches, so that the clock (25 ns) does not count. */
  long batch = bytes < PAGE ? 64 : bytes < MIB ? 16 : 1;
  char *buffer = aligned_alloc(PAGE, MIB);
  if (!buffer) client_fail("aligned_alloc");
  memset(buffer, 1, MIB);
  /* All pages exist, and in the file's order, before anything is timed. */
  for (size_t at = MIB; at < size; at += MIB) {
    if (pwrite(fd, buffer, MIB, (off_t)at) != MIB) client_fail("pwrite");
  }
  size_t at = MIB;
  for (long sample = -16; sample < samples; sample++) {
    uint64_t begin = vsocfs_bench_now();
    for (long i = 0; i < batch; i++) {
      ssize_t done = writes ? pwrite(fd, buffer, bytes, (off_t)at)
                            : pread(fd, buffer, bytes, (off_t)at);
      if (done != (ssize_t)bytes) client_fail("%s of %zu at %zu", argv[2], bytes, at);
      at += bytes;
      if (at + bytes > size) at = MIB;
    }
    uint64_t end = vsocfs_bench_now();
    if (sample >= 0) vsocfs_bench_record(0, (double)(end - begin) / (double)batch);
  }
  return 0;
}

/* TARGET SAMPLES: an uncontended atomic exchange. */
int client_exchange(int argc, char **argv) {
  (void)argc;
  enum { BATCH = 6400 };
  char *memory = vsocfs_bench_client_map(argv[0], MAPPED_SIZE);
  _Atomic uint32_t *word = (_Atomic uint32_t *)(void *)(memory + WORD_A);
  long samples = number(argv[1]);
  for (long sample = -16; sample < samples; sample++) {
    uint64_t begin = vsocfs_bench_now();
    for (int i = 0; i < BATCH; i++) atomic_exchange(word, 1);
    uint64_t end = vsocfs_bench_now();
    if (sample >= 0) vsocfs_bench_record(0, (double)(end - begin) / BATCH);
  }
  return 0;
}
