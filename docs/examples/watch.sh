#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Prints what rings at the host end of a region, and signals the guest end for each: a doorbell and
# a signal file are all it takes.
#
#   docs/examples/watch.sh /mnt/vsoc/demo [COUNT]
set -eu

region=${1:?usage: watch.sh REGION-DIRECTORY [COUNT]}
left=${2:-0}

exec 3< "$region/peer/doorbell"
echo ready
while read -r offset <&3; do
  if [ "$offset" = 0x00000000 ]; then echo "ring"; else echo "posted $offset"; fi
  echo inject > "$region/peer/signal"
  left=$((left - 1))
  if [ "$left" -eq 0 ]; then exit; fi
done
