#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs a command that has an area of a managed region as its descriptor 3, to be read, written and
# mapped, and nobody else has. What is in the area stays there for the next one.
#
#   docs/examples/with-area.sh /mnt/vsoc/buffers 0x2000 0x4000 0x2000 7 sh -c 'echo hello >&3'
set -eu

usage="usage: with-area.sh REGION-DIRECTORY BEGIN END OWNER-OFFSET OWNED-VALUE COMMAND..."
region=${1:?$usage} area="${2:?$usage} ${3:?$usage} ${4:?$usage} ${5:?$usage}"
shift 5
: "${1:?$usage}"

exec 3<> "$region/data" 4<> "$region/permissions"
# For descriptor 3, not for the one that it is written to.
if ! echo "claim $area 3" >&4; then
  echo "with-area.sh: not to be had; who has what:" >&2
  cat <&4 >&2
  exit 1
fi
status=0
"$@" 4>&- || status=$?
# Not only when the kernel has told of the close.
echo "release 3" >&4
exit "$status"
