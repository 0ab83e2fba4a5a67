#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian package into a fresh Debian 12, uses it there as an operator does, and purges it
# without a trace: in a plain chroot, and in a container that boots systemd, twice.
#
#   test-package.sh PACKAGE
#
# Nothing stays but the fresh Debian, as an archive in .build/package. In the environment: DEADLINE, in
# seconds, for the chroot and for each boot (120).
set -euo pipefail

package=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
sources=$(realpath "$here/../..")
cache=$sources/.build/package
: "${DEADLINE:=120}"

fail() {
  echo "test-package: $*" >&2
  exit 1
}

lintian --allow-root --fail-on error,warning "$package" || fail 'lintian complains'

mkdir -p "$cache"
archive=$("$here/make-root.sh" "$cache")
temporary=$(mktemp -d)
process=''

clean_up() {
  local status=$?
  trap '' INT TERM
  # With it go all processes and mounts of its namespaces.
  if [[ -n $process ]]; then
    kill -s TERM "$process" 2> /dev/null || :
    wait "$process" || :
  fi
  rm -rf --one-file-system "$temporary"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command with its output in a log; both are over at the deadline.
run() {
  local log=$temporary/$1.log status=0
  shift
  timeout --kill-after=10 "$DEADLINE" "$@" < /dev/null > "$log" 2>&1 &
  process=$!
  wait "$process" || status=$?
  process=''
  return "$status"
}

tar -x -C "$temporary" -f "$archive"
cd "$temporary"
cp "$package" packages
(cd packages && dpkg-scanpackages --multiversion . > Packages 2> /dev/null)

# Clients, compiled with what the package has for that.
mkdir test installed device
dpkg-deb --extract "$package" installed
flags=$(PKG_CONFIG_LIBDIR=$PWD/installed/usr/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$PWD/installed \
  pkg-config --cflags vsocfs)
for client in ask allocate; do
  # shellcheck disable=SC2086
  gcc -std=gnu11 -Wall -Wextra -Werror -static $flags \
    -o "test/$client" "installed/usr/share/doc/vsocfs/docs/examples/$client.c"
done
cp "$here"/{common,chroot,operator}.sh test

chroot root useradd --create-home --uid 1000 alice
mkdir root/{packages,test}

# Without systemd.
# shellcheck disable=SC2016
run chroot unshare --mount --pid --fork --kill-child sh -euc '
  mount --bind packages root/packages
  mount --bind test root/test
  mount -t proc none root/proc
  mount -t tmpfs none root/dev
  mkdir root/dev/pts
  mount -t devpts -o newinstance,ptmxmode=666 none root/dev/pts
  ln -s pts/ptmx root/dev/ptmx
  for device in null:1:3 zero:1:5 urandom:1:9; do
    IFS=: read -r name major minor <<END
$device
END
    mknod -m 666 "root/dev/$name" c "$major" "$minor"
  done
  mknod -m 666 root/dev/fuse c 10 229
  ln -s /proc/self/fd root/dev/fd
  exec chroot root /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    /test/chroot.sh' || {
  cat chroot.log >&2
  fail 'it does not work in a chroot'
}
echo "the package in a chroot: installed, used and purged, after $SECONDS s"

# With systemd; its journal is for runs that fail.
mkdir -p root/var/log/journal
cat > root/etc/systemd/system/operator.service <<'END'
[Unit]
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
Environment=LC_ALL=C.UTF-8
ExecStart=/test/operator.sh
StandardOutput=append:/test/output
StandardError=inherit
END
mkdir -p root/etc/systemd/system/multi-user.target.wants
ln -s ../operator.service root/etc/systemd/system/multi-user.target.wants

for boot in first second; do
  echo "$boot" > test/boot
  # With devices of its own: one that everybody may open, as udev has it, and one for automounts.
  # shellcheck disable=SC2016
  run container unshare --mount sh -euc '
    mount -t tmpfs none device
    mknod -m 666 device/fuse c 10 229
    mknod device/autofs c 10 235
    exec systemd-nspawn --quiet --register=no --keep-unit --link-journal=no --boot --directory=root \
      --bind="$PWD/device/fuse:/dev/fuse" --bind="$PWD/device/autofs:/dev/autofs" \
      --bind-ro="$PWD/packages:/packages" --bind="$PWD/test:/test"' || {
    echo "status $?" >&2
    journalctl --quiet --no-pager --directory=root/var/log/journal >&2 || :
    tail -n 20 container.log >&2
    [[ ! -e test/output ]] || cat test/output >&2
    fail "it does not work in a container, at its $boot boot"
  }
  echo "the package in a container with systemd, $boot boot: done, after $SECONDS s"
done
