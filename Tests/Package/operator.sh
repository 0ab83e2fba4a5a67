#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The package on a system with systemd: what is done after the first boot, and after the second.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/common.sh"

service=vsocfs@mnt-vsoc.service
examples=/usr/share/doc/vsocfs/docs/examples
property() { systemctl show --value --property "$2" "$1"; }
is_in_state() { [[ $(property "$1" ActiveState) == "$2" ]]; }
# Whether another process than PID serves, and is ready.
is_served_by_another() { is_in_state "$1" active && [[ $(property "$1" MainPID) != "$2" ]]; }
# Whether a unit's journal has a text, as far as options of journalctl select it.
journal_has() {
  journalctl --sync
  [[ $(journalctl --quiet --output cat --unit "$1" "${@:3}") == *"$2"* ]]
}

# All that a daemon can be asked for, in a service: it may do less than one that is started by hand.
everything_in_mode() {
  local unit='vsocfs@srv-my\x2dvsoc.service' tree=/srv/my-vsoc socket=host_socket=/run/vsocfs.socket killed
  step "everything at once, passthrough=$1"
  cat > /etc/vsocfs/all.json5 <<'END'
{ regions: [
  { name: "demo" }, { name: "manager", size: "64K" },
  { name: "buffers", size: "1M", managed_by: "manager" },
] }
END
  mkdir "/etc/systemd/system/$unit.d"
  cat > "/etc/systemd/system/$unit.d/options.conf" <<END
[Service]
Environment="OPTIONS=-o layout=/etc/vsocfs/all.json5,dev_links,passthrough=$1,store=/srv/store,$socket"
END
  systemctl daemon-reload
  systemctl start "$unit"
  use "$tree/demo"
  [[ /dev/demo -ef $tree/demo/data ]] || fail 'no link to the region'
  mkdir "$tree/more"
  truncate -s 64M "$tree/more/data"
  use "$tree/more"
  [[ $(/test/allocate "$tree/manager" "$tree/buffers" hello) == *hello* ]] \
    || fail 'no area by way of the manager'
  # shellcheck disable=SC2016
  "$examples/with-area.sh" "$tree/buffers" 0x2000 0x4000 0x2000 7 sh -c 'echo hello >&3'

  killed=$(property "$unit" MainPID)

  # With clients and dirty pages it is killed; nothing that was stored is lost.
  python3 - "$tree" /run/vsocfs.socket "$killed" <<'END'
import mmap, os, signal, socket, sys
tree, host, daemon = sys.argv[1:]
machine, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
machine.connect(tree + "/demo/ivshmem")
assert machine.recv(8) == bytes(8), "no ivshmem server"
client.connect(host)
file = os.open(tree + "/more/data", os.O_RDWR)
memory = mmap.mmap(file, 0)
for page in range(8192, len(memory), 4096):
    memory[page:page + 5] = b"alive"
os.kill(int(daemon), signal.SIGKILL)
END
  within 60 is_served_by_another "$unit" "$killed"
  [[ $(grep -ao alive "$tree/more/peer/data" | wc -l) == 16382 ]] || fail 'what was stored is lost'
  use "$tree/more"
  # Nobody has ended the guard of the killed one before it was done.
  ! journal_has "$unit" SIGKILL || fail 'systemd has killed the guard'
  systemctl stop "$unit"
  [[ ! -e /dev/demo && ! -e /run/vsocfs.socket ]] || fail 'something is left of the service'
  [[ $(property "$unit" Result) == success ]] || fail 'the service failed'
  rm -r "/etc/systemd/system/$unit.d" /srv/store
}

first_boot() {
  snapshot before

  step 'install, and read'
  install_package
  vsocfs --version
  local page
  for page in "8 vsocfs" "8 mount.vsocfs" "5 vsocfs"; do
    # shellcheck disable=SC2086
    [[ -z $(man --warnings --encoding UTF-8 $page 2>&1 > /dev/null) ]] || fail "man $page complains"
  done
  # shellcheck disable=SC1091,SC2016
  [[ $(bash -c '. /usr/share/bash-completion/bash_completion
    _completion_loader vsocfs
    COMP_WORDS=(vsocfs --hos) COMP_CWORD=1
    "$(complete -p vsocfs | sed "s/.*-F \([^ ]*\).*/\1/")" vsocfs --hos vsocfs
    echo "${COMPREPLY[0]}"') == --host-socket* ]] || fail 'bash does not complete'

  cp "$examples/mnt-vsoc.mount" /etc/systemd/system
  systemd-analyze verify "$service" mnt-vsoc.mount 2>&1 | tee /test/verify
  [[ ! -s /test/verify ]] || fail 'systemd-analyze verify complains'
  systemd-analyze --no-pager security "$service" | tail -n 1
  rm /etc/systemd/system/mnt-vsoc.mount

  step 'a service, with a layout; the mount point is made'
  cat > /etc/vsocfs/mnt-vsoc.json5 <<END
{ regions: [{ name: "demo", gid: 1000, mode: "0660" }] }
END
  echo 'OPTIONS=-o layout=/etc/vsocfs/mnt-vsoc.json5' > /etc/vsocfs/mnt-vsoc.conf
  systemctl start "$service"
  use /mnt/vsoc/demo
  journal_has "$service" 'keeps CAP_SYS_ADMIN' --priority notice..notice \
    || fail 'the journal has no line of the daemon with its priority'

  step 'an ordinary user asks, root answers'
  local answerer
  "$examples/answer.py" /mnt/vsoc/demo &
  answerer=$!
  [[ $(setpriv --reuid alice --regid alice --clear-groups timeout 20 /test/ask /mnt/vsoc/demo 12) == 144 ]] \
    || fail 'no answer, or another one'
  kill "$answerer"
  wait "$answerer" || :
  ! setpriv --reuid nobody --regid nogroup --clear-groups cat /mnt/vsoc/demo/data 2> /dev/null \
    || fail 'nobody can read it'

  step 'the daemon is killed while its mount is in use'
  local killed
  exec 3< /mnt/vsoc/demo/signal
  killed=$(property "$service" MainPID)
  kill -s KILL "$killed"
  within 60 is_served_by_another "$service" "$killed"
  use /mnt/vsoc/demo
  exec 3<&-
  [[ $(grep -c ' /mnt/vsoc fuse.vsocfs ' /proc/mounts) == 1 ]] || fail 'the dead mount is there still'

  step 'an upgrade leaves the mount alone'
  local serving
  serving=$(property "$service" MainPID)
  apt-get -qqy -o Dpkg::Use-Pty=0 reinstall /packages/vsocfs_*.deb
  [[ $(property "$service" MainPID) == "$serving" && $(property "$service" NeedDaemonReload) == no ]] \
    || fail 'the service is not as it was'
  use /mnt/vsoc/demo

  step 'a killed daemon that cannot start again leaves no dead mount'
  mv /etc/vsocfs/mnt-vsoc.json5 /etc/vsocfs/mnt-vsoc.bak
  systemctl kill --kill-whom=main --signal=KILL "$service"
  within 60 is_in_state "$service" failed
  ls /mnt/vsoc > /dev/null
  is_gone /mnt/vsoc || fail 'the dead mount is there still'
  mv /etc/vsocfs/mnt-vsoc.bak /etc/vsocfs/mnt-vsoc.json5
  systemctl reset-failed "$service"
  systemctl start "$service"

  step 'umount ends the service, stop ends the mount'
  # Looking at a socket does not keep it from being unmounted.
  [[ -S /mnt/vsoc/demo/ivshmem ]] || fail 'no socket for machines'
  umount /mnt/vsoc
  within 20 is_in_state "$service" inactive
  [[ $(property "$service" Result) == success ]] || fail 'the service failed'
  systemctl start "$service"
  exec 3< /mnt/vsoc/demo/signal
  systemctl stop "$service"
  exec 3<&-
  is_gone /mnt/vsoc || fail 'the mount outlived the service'
  [[ $(property "$service" Result) == success ]] || fail 'the service failed'

  step 'what others have mounted there is left alone if it lives, and detached if not'
  vsocfs --region other:1M /mnt/vsoc
  ! systemctl start "$service" 2> /dev/null || fail 'the service began with a mount in its place'
  within 20 is_in_state "$service" failed
  use /mnt/vsoc/other
  journal_has "$service" 'mounted there already' || fail 'the journal does not say why'
  systemctl reset-failed "$service"
  kill -s KILL "$(daemon)"
  within 40 has_no_daemon
  systemctl start "$service"
  use /mnt/vsoc/demo
  systemctl stop "$service"

  local mode
  for mode in auto off; do everything_in_mode "$mode"; done
  rm /etc/vsocfs/all.json5

  step 'the mount unit'
  cp "$examples/mnt-vsoc.mount" /etc/systemd/system
  systemctl daemon-reload
  systemctl start mnt-vsoc.mount
  use /mnt/vsoc/demo
  systemctl stop mnt-vsoc.mount
  is_gone /mnt/vsoc || fail 'the mount outlived its unit'
  within 20 has_no_daemon
  rm /etc/systemd/system/mnt-vsoc.mount

  step 'lines of fstab'
  mkdir /srv/fstab /srv/user
  chown alice: /srv/user
  cp /etc/fstab /test/fstab
  cat >> /etc/fstab <<END
none /srv/fstab vsocfs region=demo:1M,nofail 0 0
none /srv/wrong vsocfs nofail,layout=/nowhere 0 0
none /srv/user vsocfs noauto,user,region=demo:1M 0 0
none /srv/auto vsocfs noauto,x-systemd.automount,region=demo:1M 0 0
END
  systemctl daemon-reload
  mount /srv/fstab
  use /srv/fstab/demo
  umount /srv/fstab
  mount -a 2> /test/mount-a && fail 'mount -a does not notice a mistake'
  grep -q /nowhere /test/mount-a || fail 'mount -a does not say what is wrong'
  use /srv/fstab/demo
  runuser -u alice mount /srv/user
  runuser -u alice umount /srv/user
  within 20 is_gone /srv/user

  step 'a mount of an ordinary user'
  runuser -u alice mkdir /home/alice/vsoc
  runuser -u alice vsocfs /home/alice/vsoc
  runuser -u alice mkdir /home/alice/vsoc/mine
  runuser -u alice umount /home/alice/vsoc
  runuser -u alice rmdir /home/alice/vsoc

  systemctl enable "$service"
}

second_boot() {
  step 'both mounts are there; a wrong line with nofail has kept nothing from starting'
  # With nofail nothing waits for it at boot.
  within 20 mountpoint -q /srv/fstab
  use /srv/fstab/demo
  within 20 is_in_state "$service" active
  use /mnt/vsoc/demo
  is_in_state srv-wrong.mount failed || fail 'a wrong line has not failed'

  step 'an automount mounts when somebody looks'
  is_in_state srv-auto.mount inactive || fail 'it is mounted already'
  timeout 30 ls /srv/auto/demo
  use /srv/auto/demo
  umount /srv/auto
  within 20 is_in_state srv-auto.mount inactive
  systemctl stop srv-auto.automount
  # The daemon has not looked there itself, at its end.
  journal_has srv-auto.automount 'triggered by' || fail 'the journal does not tell of automounts'
  ! journal_has srv-auto.automount '(vsocfs)' || fail 'the daemon has asked for another mount'

  step 'removal ends services, and leaves other mounts alone'
  apt-get -qqy -o Dpkg::Use-Pty=0 remove vsocfs
  is_gone /mnt/vsoc || fail 'the mount outlived its service'
  use /srv/fstab/demo
  umount /srv/fstab

  step purge
  rm /etc/vsocfs/mnt-vsoc.*
  purge_package
  cp /test/fstab /etc/fstab
  rmdir /mnt/vsoc /srv/*
  systemctl daemon-reload
  snapshot after
  compare before after
}

"$(cat /test/boot)_boot"
