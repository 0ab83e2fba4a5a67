#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the real-mount tests on other kernels, each in a virtual machine of its own.
#
#   test-kernels.sh BUNDLE.xctest PROGRAMS KERNEL...
#
# PROGRAMS is what make-root.sh takes, a KERNEL what fetch-kernel.sh takes. The machine boots it with
# nothing but the root that make-root.sh makes; Tests/Kernels/init in it runs the tests. One line for
# each kernel says how it went; of one that failed, what failed. The logs stay in .build/kernels;
# everything else goes.
#
# In the environment: TESTS, the filter of the tests (MountTests); DEADLINE, in seconds, for the tests
# on one kernel (600), after which those that did not fit are left out; CPUS (2), MEMORY (2G) and
# ACCELERATOR (kvm or tcg) of the machine.
set -euo pipefail

bundle=$(realpath "$1")
programs=$2
shift 2
here=$(realpath "$(dirname "$0")")
cache=$here/../../.build/kernels
: "${TESTS:=MountTests}" "${DEADLINE:=600}" "${CPUS:=2}" "${MEMORY:=2G}"

mkdir -p "$cache"
temporary=$(mktemp -d "$cache/run.XXXXXX")
machine=
trap '[[ -z $machine ]] || kill "$machine" 2> /dev/null || :; rm -rf "$temporary"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

read -r accelerator processor < <("$here/accelerator.sh")
case $accelerator in
  kvm*) slowness=2 ;;
  *) slowness=5 ;;
esac

# Boots VMLINUZ with the archive $temporary/initrd, with its logs in DIRECTORY.
boot() {
  # Whatever happens in there ends with a restart of the machine, which ends QEMU. The mitigations of
  # processors' faults only cost time.
  local command_line="console=ttyS0 quiet oops=panic panic=-1 mitigations=off"
  command_line+=" BUNDLE=\"$bundle\" TESTS=\"$TESTS\" DEADLINE=$DEADLINE VSOCFS_TEST_SLOWNESS=$slowness"
  # A minute to boot, and one to say what hangs; a guest that is not done by then is killed.
  timeout --foreground --kill-after=5 "$((DEADLINE + 120))" \
    qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
    -accel "$accelerator" -cpu "$processor" -smp "$CPUS" -m "$MEMORY" \
    -kernel "$1" -initrd "$temporary/initrd" -append "$command_line" \
    -serial "file:$2/console.log" -serial "file:$2/tests.log" \
    < /dev/null > "$2/qemu.log" 2>&1 &
  machine=$!
  wait "$machine" || echo "QEMU ended with status $?" >> "$2/qemu.log"
  machine=
}

# What to read first of a run that went wrong.
explain() {
  # Issues and their comments, which follow on lines of their own, the closing line, and what was
  # under way at the deadline.
  awk '
    /^(◇|✔)/ { shown = 0; last = $0 }
    /^✘/ { shown = 1 }
    /^the tests did not end/ { shown = 1; print last }
    shown && ++lines <= 300
  ' "$1/tests.log"
  if ! grep -q '^exit ' "$1/tests.log"; then
    echo "The machine ended before the tests did. Their last lines, and the console's:"
    tail -n 20 "$1/tests.log"
    tail -n 40 "$1/console.log"
  elif ! grep -q '^✘' "$1/tests.log"; then
    tail -n 5 "$1/tests.log"
  fi
  cat "$1/qemu.log"
  echo "All of it is in $1."
}

# Whether the time was over before the tests were, and nothing else is wrong: a slow machine runs as many
# as it can. A test that hangs is no such case: it fails by its own deadlines, or, where it is itself
# caught in a call that does not return, none passes in the while that the guest gives them after that.
fit_in_part() {
  awk '
    /^✘/ { failed = 1 }
    /^the tests did not end/ { over = 1 }
    /^✔ Test "/ { passed++; afterwards += over }
    END { exit !(passed >= 80 && afterwards && !failed) }
  ' "$1"
}

"$here/make-root.sh" "$bundle" "$programs" > "$temporary/root.cpio"

failed=0
for kernel; do
  directory=$("$here/fetch-kernel.sh" "$cache" "$kernel") || { failed=1; continue; }
  rm -f "$directory"/*.log
  touch "$directory"/{console,tests,qemu}.log

  # The kernel unpacks archive after archive.
  mkdir "$temporary/kernel"
  cp -r "$here/init" "$directory/fuse" "$temporary/kernel"
  (
    cat "$temporary/root.cpio"
    cd "$temporary/kernel"
    find . -mindepth 1 | cpio --quiet --create --format=newc --owner=0:0
  ) > "$temporary/initrd"
  rm -r "$temporary/kernel"

  boot "$directory/vmlinuz" "$directory"

  name=$(sed -n 's/^kernel //p' "$directory/tests.log")
  passed='Test run with [1-9][0-9]* tests\? in [0-9]* suites\? passed after [0-9.]* seconds'
  closing=$(grep -o "$passed" "$directory/tests.log" | tail -n 1) || :
  if [[ -n $closing ]] && grep -qx 'exit 0' "$directory/tests.log"; then
    sed 's/^Test run with/'"$name"':/; s/after/in/; s/seconds/s/' <<< "$closing"
  elif fit_in_part "$directory/tests.log"; then
    echo "$name: $(grep -c '^✔ Test "' "$directory/tests.log") tests passed in $DEADLINE s," \
      "the others did not fit"
  else
    failed=1
    explain "$directory" >&2
    echo "${name:-$kernel}: failed" >&2
  fi
done
exit "$failed"
