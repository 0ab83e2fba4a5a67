#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints the accelerator that QEMU is to use here, or what ACCELERATOR says, and a processor that goes
# with it.
set -euo pipefail

# Without KVM QEMU translates, which is many times slower. Where the processor does not show its
# virtualization to this system there may be a /dev/kvm for prepared guests (pvm), in which a plain
# kernel hangs. QEMU translates SSE faster than the AVX that the C library uses where it can.
if [[ -z ${ACCELERATOR-} ]]; then
  ACCELERATOR=tcg
  if [[ -w /dev/kvm ]] && grep -Eqw 'vmx|svm' /proc/cpuinfo; then ACCELERATOR=kvm; fi
fi
case $ACCELERATOR in
  kvm*) echo "$ACCELERATOR max" ;;
  *) echo "$ACCELERATOR Nehalem" ;;
esac
