/* SPDX-License-Identifier: Apache-2.0 */
/* C and C++: the numbers of the ioctls as programs have had them compiled in for years, as constants
 * that a switch takes, and types that are spelled as in both languages. */
#include "vsocfs_ioctl.h"

static int nr(unsigned long request) {
  switch (request) {
    case VSOC_CREATE_FD_SCOPED_PERMISSION: return 0x00;
    case VSOC_GET_FD_SCOPED_PERMISSION: return 0x01;
    case VSOC_MAYBE_SEND_INTERRUPT_TO_HOST: return 0x02;
    case VSOC_WAIT_FOR_INCOMING_INTERRUPT: return 0x03;
    case VSOC_DESCRIBE_REGION: return 0x04;
    case VSOC_SELF_INTERRUPT: return 0x05;
    case VSOC_SEND_INTERRUPT_TO_HOST: return 0x06;
    case VSOC_COND_WAIT: return 0x07;
    case VSOC_COND_WAKE: return 0x08;
    case VSOCFS_REGION_INFO: return 0x40;
    case VSOCFS_CREATE_PERMISSION: return 0x41;
    case VSOCFS_RELEASE_PERMISSION: return 0x42;
    case VSOCFS_POST: return 0x43;
    case VSOCFS_DRAIN: return 0x44;
    case VSOCFS_SIGNAL_INJECT: return 0x45;
    case VSOCFS_SIGNAL_ENABLE: return 0x46;
    case VSOCFS_SIGNAL_DISABLE: return 0x47;
    default: return -1;
  }
}

static const unsigned long requests[] = {
    0x4010f500, 0x8010f501, 0xf502, 0xf503, 0x803cf504, 0xf505, 0xf506, 0xc020f507, 0xf508,
    0x8020f540, 0x4014f541, 0xf542, 0xf543, 0x8100f544, 0xf545, 0xf546, 0xf547,
};

int main(void) {
  struct vsoc_shm_layout_descriptor window = {VSOC_LAYOUT_MAJOR_VERSION, VSOC_LAYOUT_MINOR_VERSION,
                                              4096, 1, sizeof window};
  struct fd_scoped_permission_arg claim = {{4096, 8192, 4, VSOC_REGION_FREE + 1}, -1};
  struct shm_signal_desc signals = {SHM_SIGNAL_MAGIC, SHM_SIGNAL_VER, {{1, 0, 0}, {1, 0, 0}}};
  if (window.vsoc_region_desc_offset != 16 || claim.perm.owned_value != 1) return 1;
  if (signals.irq[VSOCFS_END_HOST].enabled != 1 || VSOC_OFFSET_ROUND_TRIP != 1) return 1;
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
    if (nr(requests[i]) != (int)(requests[i] & 0xff)) return 1;
  return 0;
}
