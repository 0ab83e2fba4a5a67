#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Writes the root file system of a guest to standard output: a cpio archive for the kernel to unpack
# as its initramfs, with the test bundle and the files that its tests need, and nothing else.
#
#   make-root.sh BUNDLE.xctest PROGRAMS
#
# PROGRAMS is a directory with vsocfs and what else the tests are to run; in the guest they are beside
# the bundle, where it looks for them.
#
# An initramfs needs neither a disk nor the modules for one, and the guest may write to all of it.
# Every file has the path that it has here: the bundle knows where its libraries, the programs beside
# it and its sources are.
set -euo pipefail

bundle=$(realpath "$1")
programs=$(realpath "$2")
sources=$(realpath "$(dirname "$0")/../..")

# What the tests run, and what Tests/Kernels/init does; each comes with what it depends on.
packages=(
  dash coreutils diffutils findutils grep sed util-linux mount kmod base-passwd passwd make
  fuse3 python3 libatomic1 gcc gcc-multilib libc6-dev libc6-dev-i386 gdb
)
# Of those neither documentation nor Perl, nor what only sanitizers, link-time optimization, static
# linking and 32-bit pointers in 64-bit code need: a third of it all.
unneeded='^/usr/share/(bash-completion|doc|info|lintian|locale|man)/|/perl|/libperl'
unneeded+='|/libx32|/gcc/.*/x32/|/lib[a-z]*san\.(a|so)|/lto1$|lto-dump|/lib(c|m|m-.*|mvec)\.a$'

# The packages above and what they need, as far as installed.
closure() {
  comm -12 \
    <(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
      --no-replaces --no-enhances "${packages[@]}" | grep '^[a-z0-9]' | sort -u) \
    <(dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' \
      | sed -n 's/^installed //p' | sort -u)
}

# Programs that the tests start, the sources that they compile or interpret, and what is installed.
files() {
  closure | xargs dpkg-query --listfiles "${packages[@]}" | grep -Ev "$unneeded"
  echo "$bundle"
  # The Swift runtime, which no package of Debian holds, and what that needs.
  ldd "$bundle" "$programs"/{vsocfs,vsoc-client,vsoc-attacker,slow-pages} | awk '$2 == "=>" { print $3 }'
  find "$sources"/{docs,Sources/CVsocABI,Tests/Clients,Tests/MountTests/Scripts} -type f
  find "$sources"/{Makefile,README.md,LICENSE,mount-helpers,packaging} \
    "$sources/Sources/VsocConfiguration/ProductVersion.swift" -type f
}

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
beside=$temporary/${bundle%/*}
mkdir -p "$beside"
cp "$programs"/{vsocfs,vsoc-client,vsoc-attacker,slow-pages} "$beside"

# The kernel unpacks archive after archive.
cd /
files | python3 "$sources/Tests/Kernels/closure.py" | cpio --quiet --create --format=newc
cd "$temporary"
find "./${bundle%/*}" -type f | cpio --quiet --create --format=newc --owner=0:0
