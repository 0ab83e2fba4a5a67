/* SPDX-License-Identifier: Apache-2.0 */
/* The ioctls of `data`. */
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <string.h>

#include "vsoc_shm.h"
#include "vsocfs_ioctl.h"

static void verb_maybe(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, ioctl(descriptor(argv[1]), VSOC_MAYBE_SEND_INTERRUPT_TO_HOST));
}

static void verb_wait(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, ioctl(descriptor(argv[1]), VSOC_WAIT_FOR_INCOMING_INTERRUPT));
}

static void verb_self(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, ioctl(descriptor(argv[1]), VSOC_SELF_INTERRUPT));
}

static void verb_send(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, ioctl(descriptor(argv[1]), VSOC_SEND_INTERRUPT_TO_HOST));
}

/* describe FD: versions, begin, end, data, both tables (lg2, table, word), name, manager. */
static void verb_describe(int argc, char **argv, struct reply *reply) {
  struct vsoc_device_region r;
  (void)argc;
  memset(&r, 0xaa, sizeof r);
  if (ioctl(descriptor(argv[1]), VSOC_DESCRIBE_REGION, &r)) {
    reply_error(reply, errno);
    return;
  }
  reply_format(reply, "%u %u %u %u %u", r.current_version, r.min_compatible_version,
               r.region_begin_offset, r.region_end_offset, r.offset_of_region_data);
  const struct vsoc_signal_table_layout *tables[] = {&r.guest_to_host_signal_table,
                                                     &r.host_to_guest_signal_table};
  for (int i = 0; i < 2; i++) {
    reply_format(reply, " %u %u %u", tables[i]->num_nodes_lg2,
                 tables[i]->futex_uaddr_table_offset, tables[i]->interrupt_signalled_offset);
  }
  size_t length = strnlen(r.device_name, sizeof r.device_name);
  reply_format(reply, " %s %u",
               length < sizeof r.device_name ? r.device_name : "(not terminated)", r.managed_by);
}

/* cond-wait FD OFFSET VALUE [TYPE SEC NSEC WAKES]: the result, and `wakes`. */
static void verb_cond_wait(int argc, char **argv, struct reply *reply) {
  struct vsoc_cond_wait arg = {
      .offset = (uint32_t)number(argv[2]),
      .value = (uint32_t)number(argv[3]),
      .wait_type = argc > 4 ? (uint32_t)number(argv[4]) : VSOC_WAIT_IF_EQUAL,
      .wake_time_sec = argc > 5 ? (uint64_t)number(argv[5]) : 0,
      .wake_time_nsec = argc > 6 ? (uint32_t)number(argv[6]) : 0,
      .wakes = argc > 7 ? (uint32_t)number(argv[7]) : 0,
  };
  reply_result(reply, ioctl(descriptor(argv[1]), VSOC_COND_WAIT, &arg));
  reply_format(reply, " wakes=%u", arg.wakes);
}

static void verb_cond_wake(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, ioctl(descriptor(argv[1]), VSOC_COND_WAKE, (unsigned long)number(argv[2])));
}

/* region-info FD: size, data, shm_signal, index, end, mode. */
static void verb_region_info(int argc, char **argv, struct reply *reply) {
  struct vsocfs_region_info info;
  (void)argc;
  memset(&info, 0xaa, sizeof info);
  if (ioctl(descriptor(argv[1]), VSOCFS_REGION_INFO, &info)) {
    reply_error(reply, errno);
    return;
  }
  reply_format(reply, "%u %u %u %u %u %u", info.size, info.offset_of_region_data,
               info.shm_signal_offset, info.index, info.end, info.mode);
}

static void verb_post(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, ioctl(descriptor(argv[1]), VSOCFS_POST, (unsigned long)number(argv[2])));
}

/* drain FD: count, more, and the offsets. */
static void verb_drain(int argc, char **argv, struct reply *reply) {
  struct vsocfs_drain drain;
  (void)argc;
  memset(&drain, 0xaa, sizeof drain);
  if (ioctl(descriptor(argv[1]), VSOCFS_DRAIN, &drain)) {
    reply_error(reply, errno);
    return;
  }
  reply_format(reply, "%u %u", drain.count, drain.more);
  for (uint32_t i = 0; i < drain.count && i < VSOCFS_DRAIN_MAX; i++) {
    reply_format(reply, " 0x%08x", drain.offsets[i]);
  }
}

static void verb_inject(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, ioctl(descriptor(argv[1]), VSOCFS_SIGNAL_INJECT));
}

static void verb_enable(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, ioctl(descriptor(argv[1]), VSOCFS_SIGNAL_ENABLE));
}

static void verb_disable(int argc, char **argv, struct reply *reply) {
  (void)argc;
  reply_result(reply, ioctl(descriptor(argv[1]), VSOCFS_SIGNAL_DISABLE));
}

/* ioctl FD REQUEST [ADDRESS]: any request; without an address, a buffer large enough for all. */
static void verb_ioctl(int argc, char **argv, struct reply *reply) {
  static char buffer[1 << 14];
  void *argument = argc > 3 ? (void *)(uintptr_t)number(argv[3]) : buffer;
  reply_result(reply, ioctl(descriptor(argv[1]), (unsigned long)number(argv[2]), argument));
}

/* abi: sizes and numbers as this program was compiled. */
static void verb_abi(int argc, char **argv, struct reply *reply) {
  (void)argc, (void)argv;
  reply_format(reply, "%zu-bit %x %x %x %x %x %x", sizeof(long) * 8,
               (unsigned)VSOC_CREATE_FD_SCOPED_PERMISSION, (unsigned)VSOC_DESCRIBE_REGION,
               (unsigned)VSOC_COND_WAIT, (unsigned)VSOC_COND_WAKE, (unsigned)VSOCFS_REGION_INFO,
               (unsigned)VSOCFS_DRAIN);
}

const struct verb ioctl_verbs[] = {{"maybe", 1, verb_maybe},
                                   {"wait-incoming", 1, verb_wait},
                                   {"self", 1, verb_self},
                                   {"send", 1, verb_send},
                                   {"describe", 1, verb_describe},
                                   {"cond-wait", 3, verb_cond_wait},
                                   {"cond-wake", 2, verb_cond_wake},
                                   {"region-info", 1, verb_region_info},
                                   {"post", 2, verb_post},
                                   {"drain", 1, verb_drain},
                                   {"inject", 1, verb_inject},
                                   {"enable", 1, verb_enable},
                                   {"disable", 1, verb_disable},
                                   {"ioctl", 2, verb_ioctl},
                                   {"abi", 0, verb_abi},
                                   {NULL, 0, NULL}};
