#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The package on a system without systemd.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/common.sh"

snapshot before

step install
install_package
vsocfs --version
mkdir /mnt/vsoc

step 'the command'
vsocfs --region demo:1M /mnt/vsoc
use /mnt/vsoc/demo
umount /mnt/vsoc
within 20 has_no_daemon

step 'mount and umount, also of what a killed daemon has left'
mount -t vsocfs none /mnt/vsoc -o region=demo:1M
use /mnt/vsoc/demo
kill -s KILL "$(daemon)"
within 40 has_no_daemon
! ls /mnt/vsoc 2> /dev/null || fail 'the mount of a killed daemon answers'
mount -t vsocfs none /mnt/vsoc -o region=demo:1M
use /mnt/vsoc/demo

step 'a mount outlives the package'
purge_package
use /mnt/vsoc/demo
umount /mnt/vsoc
within 20 has_no_daemon

rmdir /mnt/vsoc
snapshot after
compare before after
