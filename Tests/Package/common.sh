#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# For what runs inside the fresh Debian.
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive

step() { echo "== $*"; }

fail() {
  echo "FAILED: $*"
  exit 1
}

# Waits until a command succeeds, and no longer than that many seconds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" 2> /dev/null; do
    ((SECONDS < deadline)) || fail "not within the time: $*"
    sleep 0.1
  done
}

has_ended() { ! kill -0 "$1" 2> /dev/null; }
is_gone() { ! mountpoint -q "$1"; }

# All files of the root file system with type, mode, owner and target, and what is in /etc. It leaves out
# what apt, dpkg, ldconfig and man keep of their own, whatever is installed, and of a running system
# the journal and what systemd saves.
snapshot() {
  {
    find / -xdev \( -path '/var/lib/apt/*' -o -path '/var/cache/apt/*' -o -path '/var/log/apt/*' \
      -o -path /var/log/dpkg.log -o -path '/var/lib/dpkg/*-old' -o -path '/var/cache/debconf/*' \
      -o -path '/var/cache/ldconfig/*' -o -path '/var/log/journal/*' -o -path '/var/lib/systemd/*' \
      -o -path '/var/cache/man/*' -o -path /proc -o -path /sys -o -path /dev -o -path /run \
      -o -path /tmp -o -path /test \) -prune -o -printf '%M %u:%g %p %l\n'
    find /etc -type f ! -name ld.so.cache -exec sha256sum {} +
  } | sort -k 3 > "/test/$1"
}

# Nothing at all may be different, and nothing where snapshots do not look may have a name of ours, but for
# pages that man(1) has kept formatted until it cleans up.
compare() {
  diff -u "/test/$1" "/test/$2" || fail 'a trace is left'
  local found
  found=$(find /dev /run /tmp /var -xdev -path /var/cache/man -prune -o -name '*vsoc*' -print)
  [[ -z $found ]] || fail "a trace is left: $found"
}

install_package() {
  apt-get -qq update
  apt-get -qqy -o Dpkg::Use-Pty=0 install /packages/vsocfs_*.deb
}

purge_package() {
  apt-get -qqy -o Dpkg::Use-Pty=0 purge --autoremove vsocfs
}

# Both ends of a region, from a shell.
use() {
  local region=$1 log=/test/bell bell
  timeout 20 head -n 1 "$region/peer/doorbell" > "$log" 2> /dev/null &
  bell=$!
  within 20 grep -qx 'doorbell_readers 1' "$region/peer/info"
  echo 0x2000 > "$region/doorbell"
  within 20 grep -qx 0x00002000 "$log"
  wait "$bell" || :
  printf hello | dd of="$region/data" bs=1 seek=8192 conv=notrunc status=none
  [[ $(dd if="$region/peer/data" bs=1 skip=8192 count=5 status=none) == hello ]] \
    || fail 'the ends have different memory'
}

# The daemon of a mount made in the background; there is but one.
daemon() {
  local process
  for process in /proc/[0-9]*; do
    [[ $(cat "$process/comm" 2> /dev/null) == vsocfs ]] || continue
    echo "${process#/proc/}"
    return
  done
  return 1
}

# Neither daemons nor their guards.
has_no_daemon() { [[ $(readlink /proc/[0-9]*/exe) != */usr/bin/vsocfs* ]]; }
