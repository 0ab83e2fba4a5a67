# SPDX-License-Identifier: Apache-2.0

MOUNT ?= /mnt/vsoc
BIN := .build/release

# Needs a Swift 6.3 toolchain and Debian 12; everything else is installed where it is missing.
PACKAGES := fuse3 libfuse3-dev pkg-config
# The tests compile C clients, also for 32 bits, run Python ones, with the atomic operations of C, and
# virtual machines, and show where a stuck daemon is.
TEST_PACKAGES := gcc g++ gdb gcc-multilib g++-multilib libc6-dev libc6-dev-i386 python3 libatomic1 \
  qemu-system-x86

# Other kernels are unpacked from their packages and booted in virtual machines.
KERNEL_PACKAGES := cpio kmod
KERNELS ?= linux-image-amd64

# What virtual machines have that are ends of a region.
VM_PACKAGES := $(KERNEL_PACKAGES) busybox-static

.PHONY: build run test test-tsan test-asan test-kernels test-vm bench lint clean packages \
  test-packages kernel-packages vm-packages

build: packages
	swift build -c release --static-swift-stdlib --product vsocfs

run: build
	@mkdir -p '$(MOUNT)'
	@'$(BIN)/vsocfs' '$(MOUNT)'
	@set -e; \
	sleep infinity & \
	trap "kill $$! 2>/dev/null || :; umount '$(MOUNT)' || umount --lazy '$(MOUNT)'; echo 'Unmounted.'" EXIT; \
	trap 'exit 0' INT TERM; \
	mkdir '$(MOUNT)/demo'; \
	echo; find '$(MOUNT)' -printf '%M %8s  %p\n' | LC_ALL=C sort -k 3; \
	echo; \
	echo 'Mounted, with a region "demo". In another shell:'; \
	echo '  cat $(MOUNT)/demo/info'; \
	echo '  cat $(MOUNT)/demo/peer/doorbell         # the host end waits ...'; \
	echo '  echo 0x2000 > $(MOUNT)/demo/doorbell    # ... for the guest end to ring'; \
	echo '  mkdir $(MOUNT)/big && truncate -s 64M $(MOUNT)/big/data'; \
	echo 'Ctrl-C unmounts.'; \
	wait

# Everything that CI runs.
test: packages test-packages lint
	swift build
	swift test
	@$(MAKE) --no-print-directory test-kernels
	@$(MAKE) --no-print-directory test-vm

# The real-mount tests on kernels of Debian packages: names for apt, or paths of .deb files. They
# drive the executable that users get, which starts and runs faster where all has to be emulated.
test-kernels: test-packages kernel-packages build
	swift build -c release --static-swift-stdlib --product vsoc-client
	swift build --build-tests
	@Tests/Kernels/test-kernels.sh .build/debug/vsocfsPackageTests.xctest '$(BIN)' $(KERNELS)

# Virtual machines that take part in a region, with the first of the kernels.
test-vm: test-packages vm-packages build
	@Tests/VirtualMachines/test-vm.sh '$(BIN)' '$(firstword $(KERNELS))'

test-tsan: packages test-packages
	swift test --sanitize=thread --scratch-path .build-tsan

# Freed memory is kept for a moment only: the tests bound what the daemon holds.
test-asan: packages test-packages
	ASAN_OPTIONS=quarantine_size_mb=1:thread_local_quarantine_size_kb=64 \
	swift test --sanitize=address --disable-xctest --scratch-path .build-asan

bench: build
	swift build -c release --static-swift-stdlib --product vsocfs-bench
	'$(BIN)/vsocfs-bench' --json .build/bench.json --markdown .build/bench.md

lint:
	swift format lint --strict --recursive Package.swift Sources Tests

clean:
	rm -rf .build .build-*

packages: LIST = $(PACKAGES)
test-packages: LIST = $(TEST_PACKAGES)
kernel-packages: LIST = $(KERNEL_PACKAGES)
vm-packages: LIST = $(VM_PACKAGES)
packages test-packages kernel-packages vm-packages:
	@missing=; for package in $(LIST); do \
	  dpkg-query -W -f '$${db:Status-Status}\n' "$$package" 2>&1 | grep -qx installed \
	    || missing="$$missing $$package"; \
	done; \
	test -z "$$missing" || { apt-get -q update \
	  && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $$missing; }
