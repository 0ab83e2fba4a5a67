#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes a fresh Debian 12 with systemd, without the package and what it depends on, and prints the path
# of an archive of it.
#
#   make-root.sh CACHE
#
# The archive has `root`, and in `packages` what apt will have to add to it: nothing in there needs a network.
# It stays in CACHE, and is made anew when this script changes.
set -euo pipefail

script=$(realpath "$0")
cache=$(realpath "$1")
archive=$cache/root.tar

if [[ ! $archive -nt $script ]]; then
  temporary=$(mktemp -d "$cache/root.XXXXXX")
  trap 'rm -rf --one-file-system "$temporary"' EXIT
  cd "$temporary"

  # Where this machine has its packages from.
  sites() { apt-get indextargets --format "\$(SITE) \$(RELEASE)" 'Created-By: Packages'; }
  [[ -n $(sites) ]] || apt-get -q update >&2
  site=$(sites | awk '$2 == "bookworm" { print $1; exit }')
  if [[ -z $site ]]; then
    echo "make-root: apt knows no place that has bookworm" >&2
    exit 1
  fi
  # debootstrap does not ask apt.
  proxy=''
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  [[ -z $proxy ]] || export http_proxy=$proxy

  mkdir packages root
  if ! debootstrap --variant=minbase \
    --include=systemd,systemd-sysv,man-db,bash-completion,python3 bookworm root "$site" > log 2>&1; then
    cat log root/debootstrap/debootstrap.log >&2 || :
    exit 1
  fi
  rm -rf root/var/cache/apt/archives/*.deb root/var/lib/apt/lists/*
  echo 'deb [trusted=yes] file:/packages ./' > root/etc/apt/sources.list

  # With new lists if the old ones name what is no longer there.
  download() { (cd packages && apt-get -q -o APT::Sandbox::User=root download fuse3 libfuse3-3) >&2; }
  download || { apt-get -q update >&2 && download; }

  tar -c -f "$archive.new" root packages
  mv "$archive.new" "$archive"
fi
echo "$archive"
