# SPDX-License-Identifier: Apache-2.0

MOUNT ?= /mnt/vsoc
BIN := .build/release

# Where `make install` puts what users get; DESTDIR goes before all of it. mount(8) looks for its
# helpers in /sbin only.
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
MOUNT_HELPER_DIR ?= /sbin
UNIT_DIR ?= $(PREFIX)/lib/systemd/system
PKGCONFIG_DIR ?= $(PREFIX)/lib/pkgconfig
BASH_COMPLETION_DIR ?= $(PREFIX)/share/bash-completion/completions
ZSH_COMPLETION_DIR ?= $(PREFIX)/share/zsh/site-functions
FISH_COMPLETION_DIR ?= $(PREFIX)/share/fish/vendor_completions.d
INCLUDE_DIR := $(PREFIX)/include/vsocfs
MAN_DIR := $(PREFIX)/share/man
DOC_DIR := $(PREFIX)/share/doc/vsocfs

# Needs a Swift 6.3 toolchain and Debian 12; everything else is installed where it is missing.
PACKAGES := fuse3 libfuse3-dev pkg-config
# The tests compile C clients, also for 32 bits, run Python ones, with the atomic operations of C, and
# virtual machines, complete command lines in each shell, confine clients, render manual pages, and show
# where a stuck daemon is.
TEST_PACKAGES := gcc g++ gdb gcc-multilib g++-multilib libc6-dev libc6-dev-i386 python3 libatomic1 \
  qemu-system-x86 zsh fish shellcheck bubblewrap man-db mandoc

# Other kernels are unpacked from their packages and booted in virtual machines.
KERNEL_PACKAGES := cpio kmod
KERNELS ?= linux-image-amd64

# What virtual machines have that are ends of a region.
VM_PACKAGES := $(KERNEL_PACKAGES) busybox-static

# The Debian package, and a Debian to try it in.
DEB_PACKAGES := debhelper dpkg-dev
CONTAINER_PACKAGES := $(DEB_PACKAGES) lintian debootstrap systemd-container

.PHONY: build run install uninstall deb test test-tsan test-asan test-kernels test-vm test-package bench \
  lint clean packages test-packages kernel-packages vm-packages deb-packages container-packages

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

# What is installed, each as mode:source:target; `link` for a mode makes a symbolic link. What is
# generated for it depends on the variables above, and is gone when the files are in their places; each
# run of make has a directory of its own for that.
GENERATED := .build/install-$(shell echo $$PPID)
put = $(foreach source,$(2),$(1):$(source):$(3)/$(notdir $(source)))
generated = $(patsubst $(1)/%.in,$(GENERATED)/%,$(wildcard $(1)/*.in))
INSTALLED := \
  $(call put,755,$(BIN)/vsocfs,$(BINDIR)) \
  $(call put,755,$(call generated,mount-helpers),$(MOUNT_HELPER_DIR)) \
  link:mount.vsocfs:$(MOUNT_HELPER_DIR)/mount.fuse.vsocfs \
  $(call put,644,$(call generated,mount-helpers/systemd),$(UNIT_DIR)) \
  $(call put,644,$(call generated,packaging),$(PKGCONFIG_DIR)) \
  $(call put,644,Sources/CVsocABI/include/vsoc_shm.h,$(INCLUDE_DIR)) \
  $(call put,644,Sources/CVsocABI/include/vsocfs_ioctl.h,$(INCLUDE_DIR)) \
  $(call put,644,$(GENERATED)/bash/vsocfs,$(BASH_COMPLETION_DIR)) \
  $(call put,644,$(GENERATED)/zsh/_vsocfs,$(ZSH_COMPLETION_DIR)) \
  $(call put,644,$(GENERATED)/fish/vsocfs.fish,$(FISH_COMPLETION_DIR)) \
  $(call put,644,$(wildcard docs/man/*.5),$(MAN_DIR)/man5) \
  $(call put,644,$(wildcard docs/man/*.8),$(MAN_DIR)/man8) \
  $(call put,644,README.md LICENSE,$(DOC_DIR)) \
  $(call put,644,$(wildcard docs/*.md),$(DOC_DIR)/docs) \
  $(call put,644,$(wildcard docs/examples/*.c mount-helpers/systemd/*.mount),$(DOC_DIR)/docs/examples) \
  $(call put,755,$(wildcard docs/examples/*.py docs/examples/*.sh),$(DOC_DIR)/docs/examples)
OWN_DIRECTORIES := $(DOC_DIR)/docs/examples $(DOC_DIR)/docs $(DOC_DIR) $(INCLUDE_DIR)

# Takes an executable that is built already as it is. The generator of completions believes that there
# is a subcommand `help`, which a program without subcommands has not.
install: | $(BIN)/vsocfs
	@set -e; \
	trap 'rm -rf "$(GENERATED)"' EXIT; trap 'exit 1' HUP INT TERM; \
	mkdir -p $(addprefix $(GENERATED)/,bash zsh fish); \
	version=$$(sed -n 's/.*productVersion = "\(.*\)"/\1/p' Sources/VsocConfiguration/ProductVersion.swift); \
	for template in $(wildcard $(addsuffix /*.in,mount-helpers mount-helpers/systemd packaging)); do \
	  name=$${template##*/}; \
	  sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@BINDIR@|$(BINDIR)|g' -e "s|@VERSION@|$$version|g" \
	    "$$template" > "$(GENERATED)/$${name%.in}"; \
	done; \
	for file in bash:bash/vsocfs zsh:zsh/_vsocfs fish:fish/vsocfs.fish; do \
	  '$(BIN)/vsocfs' --generate-completion-script "$${file%%:*}" > "$(GENERATED)/completions"; \
	  sed -E "/-f?[aW] 'help'|'help:/d" "$(GENERATED)/completions" > "$(GENERATED)/$${file#*:}"; \
	done; \
	for file in $(INSTALLED); do \
	  mode=$${file%%:*}; source=$${file#*:}; source=$${source%:*}; target="$(DESTDIR)$${file##*:}"; \
	  if test "$$mode" = link; then ln -sfn "$$source" "$$target"; \
	  else install -D -m "$$mode" "$$source" "$$target"; fi; \
	done

# With the same variables as `make install`.
uninstall:
	@set -e; \
	for file in $(INSTALLED); do rm -f "$(DESTDIR)$${file##*:}"; done; \
	for directory in $(OWN_DIRECTORIES); do \
	  test ! -d "$(DESTDIR)$$directory" || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$$directory"; \
	done

$(BIN)/vsocfs:
	@$(MAKE) --no-print-directory build

# Leaves .build/deb/vsocfs_VERSION_amd64.deb.
deb: deb-packages build
	@packaging/make-deb.sh '$(BIN)'

# Everything that CI runs.
test: packages test-packages lint
	swift build
	swift test
	@$(MAKE) --no-print-directory test-kernels
	@$(MAKE) --no-print-directory test-vm
	@$(MAKE) --no-print-directory test-package

# The real-mount tests on kernels of Debian packages: names for apt, or paths of .deb files. They
# drive the executable that users get, which starts and runs faster where all has to be emulated.
test-kernels: test-packages kernel-packages build
	for program in vsoc-client vsoc-attacker slow-pages; do \
	  swift build -c release --static-swift-stdlib --product $$program || exit; done
	swift build --build-tests
	@Tests/Kernels/test-kernels.sh .build/debug/vsocfsPackageTests.xctest '$(BIN)' $(KERNELS)

# Virtual machines that take part in a region, with the first of the kernels.
test-vm: test-packages vm-packages build
	@Tests/VirtualMachines/test-vm.sh '$(BIN)' '$(firstword $(KERNELS))'

# The Debian package in a fresh Debian: installed, used with and without systemd, and purged.
test-package: test-packages container-packages deb
	@Tests/Package/test-package.sh .build/deb/*.deb

test-tsan: packages test-packages
	swift test --sanitize=thread --scratch-path .build-tsan

# Freed memory is kept for a moment only: the tests bound what the daemon holds.
test-asan: packages test-packages
	ASAN_OPTIONS=quarantine_size_mb=1:thread_local_quarantine_size_kb=64 \
	swift test --sanitize=address --disable-xctest --scratch-path .build-asan

bench: build
	swift build -c release --static-swift-stdlib --product vsocfs-bench
	'$(BIN)/vsocfs-bench' --json .build/bench.json --markdown .build/bench.md

# Shell scripts are told by their first line.
lint: test-packages
	swift format lint --strict --recursive Package.swift Sources Tests
	grep -rlE --exclude='*.swift' '^#!/bin/(ba)?sh' .ci $(wildcard *) | xargs shellcheck

clean:
	rm -rf .build .build-*

packages: LIST = $(PACKAGES)
test-packages: LIST = $(TEST_PACKAGES)
kernel-packages: LIST = $(KERNEL_PACKAGES)
vm-packages: LIST = $(VM_PACKAGES)
deb-packages: LIST = $(DEB_PACKAGES)
container-packages: LIST = $(CONTAINER_PACKAGES)
packages test-packages kernel-packages vm-packages deb-packages container-packages:
	@missing=; for package in $(LIST); do \
	  dpkg-query -W -f '$${db:Status-Status}\n' "$$package" 2>&1 | grep -qx installed \
	    || missing="$$missing $$package"; \
	done; \
	test -z "$$missing" || { apt-get -q update \
	  && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $$missing; }
