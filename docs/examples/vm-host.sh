#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Answers questions at the host end of a region: the square of the word whose offset is posted, in the
# word behind it. It uses nothing but `doorbell` and `data`, and does not care whether who asks is in a
# virtual machine (vm-guest.c) or not.
#
#   docs/examples/vm-host.sh /mnt/vsoc/demo [COUNT]
set -eu

region=${1:?usage: vm-host.sh REGION-DIRECTORY [COUNT]}
left=${2:-0}

# A number as the octal escapes of its four bytes, for `printf %b`.
escaped() {
  printf '\\0%03o' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255))
}

exec 3< "$region/peer/doorbell"
echo ready
while read -r offset <&3; do
  case $offset in
    0x00000000) continue ;; # a ring without an offset
    0xffffffff) echo "vm-host.sh: fallen behind" >&2; exit 1 ;;
  esac
  index=$((offset / 4))
  number=$(dd if="$region/peer/data" bs=4 skip=$index count=1 status=none | od -A n -t u4 | tr -d ' ')
  square=$((number * number & 0xffffffff))
  # Where the offset is the region's last there is no word behind it.
  printf '%b' "$(escaped $square)" \
    | dd of="$region/peer/data" bs=4 seek=$((index + 1)) conv=notrunc status=none || continue
  echo $((offset + 4)) > "$region/peer/doorbell"
  echo "$number -> $square"
  left=$((left - 1))
  if [ "$left" -eq 0 ]; then exit; fi
done
