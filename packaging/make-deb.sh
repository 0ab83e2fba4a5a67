#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the Debian package from an executable that is built already, and prints its path.
#
#   make-deb.sh PROGRAMS
#
# PROGRAMS is a directory with the vsocfs that goes into it. All work is done on a copy of the sources
# in .build/deb, where nothing but the package stays.
set -euo pipefail

programs=$(realpath "$1")
cd "$(dirname "$0")/.."

version=$(sed -n 's/.*productVersion = "\(.*\)"/\1/p' Sources/VsocConfiguration/ProductVersion.swift)
changelog=$(dpkg-parsechangelog --file packaging/debian/changelog --show-field Version)
if [[ $changelog != "$version" ]]; then
  echo "make-deb: packaging/debian/changelog is of version $changelog, the sources are of $version" >&2
  exit 1
fi

rm -rf .build/deb
mkdir -p .build/deb/vsocfs
trap 'rm -rf .build/deb/vsocfs' EXIT
tar -c --exclude=./.git --exclude='./.build*' . | tar -x -C .build/deb/vsocfs
mv .build/deb/vsocfs/packaging/debian .build/deb/vsocfs
if ! (cd .build/deb/vsocfs && BIN=$programs dpkg-buildpackage --build=binary --no-sign) \
  > .build/deb/log 2>&1; then
  cat .build/deb/log >&2
  exit 1
fi
rm .build/deb/{log,*.buildinfo,*.changes}
realpath --relative-to=. .build/deb/*.deb
