#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Gets a kernel out of a Debian package, without installing it, and prints the directory that then
# has it: `vmlinuz`, and in `fuse` and `vfio` the modules that a guest loads for either, in their order.
#
#   fetch-kernel.sh CACHE PACKAGE
#
# PACKAGE is the path of a .deb, or a name known to apt; for one without a kernel of its own, such as
# linux-image-amd64, it is the kernel that it depends on. What was fetched once stays in CACHE,
# and is made anew when this script changes.
set -euo pipefail

script=$(realpath "$0")
cache=$(realpath "$1")
package=$2

[[ $package != *.deb ]] || package=$(realpath "$package")
temporary=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$temporary"' EXIT
cd "$temporary"

# The package whose kernel NAME stands for, and its version.
resolve() {
  local depends
  depends=$(apt-cache depends "$1" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
  apt-cache show --no-all-versions "${depends:-$1}" \
    | sed -n 's/^Package: //p; s/^Version: //p' | paste -s -d ' '
}

if [[ $package == *.deb ]]; then
  name=$(basename "$package" .deb)
else
  resolved=$(resolve "$package" 2> /dev/null) || resolved=
  if [[ -z $resolved ]]; then
    # Where apt has never looked, it does so now.
    apt-get -q update > log 2>&1 || { cat log >&2; exit 1; }
    resolved=$(resolve "$package" 2> /dev/null) || resolved=
  fi
  if [[ -z $resolved ]]; then
    echo "$package: apt knows no such package" >&2
    exit 1
  fi
  read -r package version <<< "$resolved"
  name=${package}_$version
fi

# Puts modules of RELEASE, and those that they need, into DIRECTORY.
get_modules() {
  local release=$1 directory=$2 number=10 files file target
  shift 2
  files=$(modprobe --dirname tree --set-version "$release" --show-depends --all "$@" \
    | awk '$1 == "insmod" && !seen[$2]++ { print $2 }')
  for file in $files; do
    target=$directory/$number-$(basename "$file")
    case $file in
      *.gz) gzip -dc "$file" > "${target%.gz}" ;;
      *.xz) xz -dc "$file" > "${target%.xz}" ;;
      *.zst) zstd -dc "$file" > "${target%.zst}" ;;
      *) cp "$file" "$target" ;;
    esac
    number=$((number + 1))
  done
}

if ! [[ $cache/$name/vmlinuz -nt $script ]]; then
  if [[ $package != *.deb ]]; then
    # Again with new lists: the old ones may name what is no longer there.
    download=(apt-get -q -o APT::Sandbox::User=root download "$package=$version")
    "${download[@]}" > log 2>&1 || { apt-get -q update && "${download[@]}"; } >&2
    package=$(echo "$PWD"/*.deb)
  fi
  dpkg-deb --extract "$package" tree
  rm -f ./*.deb
  mkdir -p result/{fuse,vfio}
  if ! mv tree/boot/vmlinuz-* result/vmlinuz 2> /dev/null; then
    echo "$package: there is no kernel in this package" >&2
    exit 1
  fi
  touch result/vmlinuz
  [[ -e tree/lib ]] || ln -s usr/lib tree/lib
  # A kernel without modules beside it has to have what is needed built in. A guest's root is its
  # initramfs, so nothing else that Debian builds as modules is needed.
  for directory in tree/lib/modules/*/; do
    [[ -d $directory ]] || continue
    release=$(basename "$directory")
    depmod --basedir tree "$release"
    get_modules "$release" result/fuse fuse
    # Not every kernel has these.
    get_modules "$release" result/vfio vfio-pci vfio_iommu_type1 2> /dev/null || :
  done
  rm -rf "${cache:?}/$name"
  mv result "$cache/$name"
fi
echo "$cache/$name"
