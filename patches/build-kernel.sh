#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# build-kernel.sh SOURCE [KERNEL]: applies the series to a source of Linux 5.10
# or 5.15 and builds a kernel for the test VM; prints the path of its bzImage.
#
# SOURCE is what you have: linux-source-5.10_VERSION_all.deb, the
# linux-source-5.10.tar.xz in it, or the unpacked tree (which is not changed).
# KERNEL is a file of tests/vm/kernels (default linux-5.10).  Nothing is fetched.
#
# tests/vm/build-kernel does the work.  It takes a source package from its cache,
# so all this script does is to put SOURCE there as one: in a cache of its own,
# or, for a kernel that Debian does not have, in the common one, where tests find it.

set -euo pipefail
export LC_ALL=C

die() { echo "build-kernel.sh: $*" >&2; exit 1; }

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
[ $# -ge 1 ] && [ $# -le 2 ] && [ -e "$1" ] ||
	die "usage: build-kernel.sh SOURCE [KERNEL], SOURCE a .deb, a .tar.xz or a directory"
source=$(realpath "$1") kernel=${2:-linux-5.10}
[ -f "$top/tests/vm/kernels/$kernel" ] || die "no kernel '$kernel'; there are: $(ls "$top/tests/vm/kernels" | tr '\n' ' ')"
. "$top/tests/vm/kernels/$kernel"

cache=${ANONNAME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/libanonname}
[ "$suite" = given ] || cache+=/given
given=$cache/source/$suite
mkdir -p "$given"
rm -rf "$given/$package"_*

# A source package with this one file in it.
wrap() {
	local tmp=$given/tmp
	mkdir -p "$tmp/DEBIAN" "$tmp/usr/src"
	"$@" >"$tmp/usr/src/$package.tar.xz"
	printf '%s\n' "Package: $package" "Version: $version" "Architecture: all" \
		"Maintainer: nobody <nobody@localhost>" "Description: $package as given" >"$tmp/DEBIAN/control"
	dpkg-deb -Znone --build "$tmp" "$given/${package}_${version}_all.deb" >/dev/null
	rm -rf "$tmp"
}

# The version names the source in the cache of kernels, so it is made from it.
if [ -d "$source" ]; then
	[ -f "$source/mm/madvise.c" ] || die "$source is no kernel tree"
	version=0~$(tar -C "$source" --sort=name --mtime=@0 --owner=0 --group=0 -cf - . | sha256sum | cut -c 1-12)
	wrap tar -C "$(dirname "$source")" -I 'xz -0 -T0' -cf - "$(basename "$source")"
else
	case $source in
	*/"${package}"_*.deb) ln -s "$source" "$given/" ;;
	*.tar.xz) version=0~$(sha256sum <"$source" | cut -c 1-12); wrap cat "$source" ;;
	*) die "$source is neither ${package}_VERSION_all.deb nor a .tar.xz nor a directory" ;;
	esac
fi

ANONNAME_CACHE=$cache "$top/tests/vm/build-kernel" "$kernel"
