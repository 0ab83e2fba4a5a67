/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "CLinux.h"
#include "result.h"

_Static_assert(VSOCFS_CAP_DAC_OVERRIDE == CAP_DAC_OVERRIDE, "capability");
_Static_assert(VSOCFS_CAP_IPC_LOCK == CAP_IPC_LOCK, "capability");
_Static_assert(VSOCFS_CAP_SYS_PTRACE == CAP_SYS_PTRACE, "capability");
_Static_assert(VSOCFS_CAP_SYS_ADMIN == CAP_SYS_ADMIN, "capability");

/* 64 capabilities: the low half comes first. */
typedef struct __user_cap_data_struct capability_sets[2];

static int get_sets(capability_sets sets) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  return or_errno(syscall(SYS_capget, &header, sets));
}

uint64_t vsocfs_capabilities(void) {
  capability_sets sets;
  if (get_sets(sets) < 0) return 0;
  return (uint64_t)sets[1].effective << 32 | sets[0].effective;
}

int vsocfs_keep_capabilities(uint64_t kept) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  capability_sets sets;
  int result = get_sets(sets);
  if (result < 0) return result;
  /* First, as it takes CAP_SETPCAP: what root's programs get at exec is within the bounding set. Whoever
   * started a daemon without it has narrowed the set himself. */
  for (int number = 0; number < 64; number++)
    if (!(kept >> number & 1) && prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1 &&
        prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0 && errno != EPERM)
      return -errno;
  for (int half = 0; half < 2; half++) {
    sets[half].permitted &= (uint32_t)(kept >> 32 * half);
    sets[half].effective = sets[half].permitted;
    sets[half].inheritable = 0;
  }
  return or_errno(syscall(SYS_capset, &header, sets));
}

int vsocfs_refuse_new_privileges(void) { return or_errno(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); }
