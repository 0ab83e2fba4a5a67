#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes real virtual machines the ends of a region, with the programs of docs/examples in them and
# on the mount.
#
#   test-vm.sh PROGRAMS KERNEL
#
# PROGRAMS is a directory with the vsocfs that is to be tried, KERNEL what fetch-kernel.sh takes. A
# machine's root is an initramfs with BusyBox, vm-guest and init from here. Of a run that failed all
# logs are printed; nothing stays but the kernel in .build/kernels.
#
# In the environment: DEADLINE, in seconds, for each machine to boot and have its answers (120);
# ACCELERATOR (kvm or tcg).
set -euo pipefail

vsocfs=$(realpath "$1")/vsocfs
kernel=$2
here=$(realpath "$(dirname "$0")")
sources=$here/../..
kernels=$here/../Kernels
cache=$sources/.build/kernels
: "${DEADLINE:=120}"

temporary=$(mktemp -d)
mount=$temporary/mount
region=$mount/demo
declare -A processes=()

# Starts a command with its output in a log of NAME.
start() {
  local name=$1
  shift
  : > "$temporary/$name.log"
  "$@" < /dev/null >> "$temporary/$name.log" 2>&1 &
  processes[$name]=$!
}

# The shell knows which of them still run; a number may be somebody else's by then.
has_ended() { [[ $'\n'$(jobs -rp)$'\n' != *$'\n'${processes[$1]}$'\n'* ]]; }

# Ends what was started as NAME, which no longer has to be there.
end() {
  has_ended "$2" || kill -s "$1" "${processes[$2]}"
  wait "${processes[$2]}" 2> /dev/null || :
  unset "processes[$2]"
}

clean_up() {
  local status=$? name
  trap '' INT TERM
  # Machines first: a daemon is not done before its peers are gone.
  for name in "${!processes[@]}"; do [[ $name == daemon ]] || end KILL "$name"; done
  [[ -z ${processes[daemon]-} ]] || end TERM daemon
  if mountpoint -q "$mount"; then
    echo "the mount outlived the daemon" >&2
    umount --lazy "$mount"
    status=1
  fi
  if [[ $status != 0 ]]; then tail -v -n 60 "$temporary"/*.log >&2; fi
  rm -rf "$temporary"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
  echo "test-vm: $*" >&2
  exit 1
}

# Waits until a command succeeds, and no longer than that many seconds.
within() {
  local deadline=$((SECONDS + $1)) name
  shift
  until "$@" 2> /dev/null; do
    ((SECONDS < deadline)) || fail "not within the time: $*"
    sleep 0.1
  done
}

# As within, for something that a machine has to do, whose process is watched as well.
machine_does() {
  local name=$1 deadline=$((SECONDS + DEADLINE))
  shift
  until "$@" 2> /dev/null; do
    ((SECONDS < deadline)) || fail "$name: not within $DEADLINE s: $*"
    ! has_ended "$name" || "$@" 2> /dev/null || fail "$name ended early: $*"
    sleep 0.2
  done
}

# Boots a machine with its ivshmem device at a socket, to run vm-guest with ARGUMENTS. With the DRIVER
# vfio interrupts come through, for which there has to be an IOMMU.
boot() {
  local name=$1 socket=$2 driver=$3 then=$4 arguments=$5 machine=(-M pc)
  [[ $driver != vfio ]] || machine=(-M "q35,kernel-irqchip=split" -device "intel-iommu,intremap=on")
  # Whatever happens in there ends with a restart of the machine, which ends QEMU. On a busy host the
  # timer can be too late for the check of it.
  local command_line="console=ttyS0 quiet oops=panic panic=-1 mitigations=off no_timer_check"
  command_line+=" intel_iommu=on DRIVER=$driver THEN=$then ARGUMENTS=\"$arguments\""
  : > "$temporary/$name.output.log"
  start "$name" qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
    "${machine[@]}" -accel "$accelerator" -cpu "$processor" -m 256 \
    -kernel "$directory/vmlinuz" -initrd "$temporary/initrd" -append "$command_line" \
    -serial "file:$temporary/$name.console.log" -serial "file:$temporary/$name.output.log" \
    -chardev "socket,path=$socket,id=c" -device ivshmem-doorbell,chardev=c,vectors=1
}

# Whether a log has these lines, beside what vm-guest says of the device.
has_said() { [[ $(grep -v '^vm-guest: .* is the region demo, ' "$temporary/$1.log") == "$2" ]]; }

info_has() { grep -Eqx "$2" "$region/$1info"; }

# Posts 400 offsets at once, for which there are as many answers; between them may be rings.
post_many() { seq 8192 8 11384 > "$region/doorbell"; }
has_read_many() { [[ $(grep -cvx 0x00000000 "$temporary/reader.log") == 400 ]]; }

# The questions: one twice, and one whose square does not fit.
questions='7 12 12 0 65535 65537'
squares=$'7 -> 49\n12 -> 144\n12 -> 144\n0 -> 0\n65535 -> 4294836225\n65537 -> 131073'

mkdir -p "$cache" "$mount" "$temporary/root/bin"
directory=$("$kernels/fetch-kernel.sh" "$cache" "$kernel")
read -r accelerator processor < <("$kernels/accelerator.sh")

gcc -std=c11 -O2 -Wall -Wextra -Werror -static -I "$sources/Sources/CVsocABI/include" \
  -o "$temporary/root/bin/vm-guest" "$sources/docs/examples/vm-guest.c"
cp "$(command -v busybox)" "$temporary/root/bin"
cp -r "$here/init" "$directory/vfio" "$temporary/root"
# Not every kernel has it.
driver=none
[[ -z $(ls "$directory/vfio") ]] || driver=vfio
(
  cd "$temporary/root"
  find . -mindepth 1 | cpio --quiet --create --format=newc --owner=0:0
) > "$temporary/initrd"

# Machines at the ends of a region of a mount with passthrough=MODE.
test_machines() {
  start daemon "$vsocfs" -f -o "passthrough=$1" --region demo:1M "$mount"
  within 20 test -e "$region/ivshmem"

  # A machine is the guest end, a script the host end.
  start host "$sources/docs/examples/vm-host.sh" "$region"
  within 20 grep -qx ready "$temporary/host.log"
  boot guest "$region/ivshmem" "$driver" stay "demo $questions"
  machine_does guest grep -q '^exit ' "$temporary/guest.output.log"
  [[ $driver == none ]] || grep -q 'with interrupts' "$temporary/guest.output.log" \
    || fail 'the guest has no interrupts'
  has_said guest.output "$squares"$'\nexit 0' || fail 'the guest has other answers'
  within 20 has_said host $'ready\n'"$squares"

  # It is there, and keeps its region and the mount from going.
  info_has '' 'peers 1' || fail 'info does not count the machine'
  info_has '' 'peer vm [0-9]+' || fail 'info does not show the machine'
  info_has 'peer/' 'peers 0' || fail 'info shows somebody at the host end'
  ! rmdir "$region" 2> /dev/null || fail 'the region of a machine was removed'
  ! umount "$mount" 2> /dev/null || fail 'the mount of a machine was unmounted'

  end KILL guest
  within 20 info_has '' 'peers 0'
  end TERM host

  # Two machines are the two ends. What the killed one left does not matter to them.
  boot answerer "$region/peer/ivshmem" "$driver" stay '--answer demo'
  boot asker "$region/ivshmem" none go "demo $questions"
  machine_does asker has_ended asker
  has_said asker.output "$squares"$'\nexit 0' || fail 'the asking guest has other answers'
  within 20 has_said answerer.output "$squares"
  within 20 info_has '' 'peers 0'
  info_has 'peer/' 'peers 1' || fail 'info does not count the answering machine'

  # More than the table holds: the writer goes on when the machine has taken some.
  start reader cat "$region/doorbell"
  within 20 info_has '' 'doorbell_readers 1'
  start writer post_many
  machine_does answerer has_ended writer
  within 20 has_read_many
  end TERM reader
  end KILL answerer
  within 20 info_has 'peer/' 'peers 0'

  within 20 umount "$mount"
  within 20 has_ended daemon
  unset "processes[daemon]"
}

for mode in auto off; do
  test_machines "$mode"
  echo "virtual machines, passthrough=$mode: all ends had their answers, after $SECONDS s"
done
