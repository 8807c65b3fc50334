#!/bin/bash
# SPDX-License-Identifier: MIT
#
# each-patch.sh [SERIES]: applies a series (default linux-5.10) patch by patch to one tree, the optional
# patch too, and after each of them builds the kernel and boots it, with the
# option on from where there is one.  From the patch on that brings the prctl a
# page is named, and from the next one on its name is read back.  Half an hour
# on two processors.  With the option off the whole series is linux-5.10-off.
#
# Exit status: 0 each builds and boots, 1 one does not, 77 nothing could be run.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/lib.sh"
series=${1:-linux-5.10}

kernels=$build/each
mkdir -p "$kernels"
compile named
work=$kernels/tree
plain_tree "$series" "$work"
cd "$work"

# What the tree says without the series is not ours: objtool warns of sysvec_reboot in 5.15.
grep 'warning:' build.log >"$kernels/known" || :

# made WHERE: builds the kernel as it is configured.
made() {
	make_kernel "$1" bzImage "$kernels/log"
	! grep 'warning:' "$kernels/log" | grep -vxF -f "$kernels/known" >&2 || fail "$1: warnings"
	mkdir -p "$kernels/$1"
	cp arch/x86/boot/bzImage vmlinux "$kernels/$1"
	cp .config "$kernels/$1/config"
}

# boots WHERE WANTED: a program names a page in it and says what it sees.
boots() {
	local said
	said=$("$top/tests/vm/vm-run" -k "$kernels/$1" -m 512M -w "$build" -- "$build/named") || fail "$1 does not boot: $said"
	[ "$said" = "$2" ] || fail "$1: '$said', expected '$2'"
	echo "ok    $1: $said"
	rm -rf "${kernels:?}/$1"
}

shows="not named, not shown" option=
for patch in "$top/patches/$series"/*.patch "$top/patches/$series"/optional/*.patch; do
	number=$(basename "$patch" | cut -c 1-4)
	apply "$patch"
	case $number in
	0003) option=y ;;
	0005) shows="named, not shown" ;;
	0006) shows="named, shown" ;;
	0011) shows="named, shown, shared too" ;;
	esac
	[ -z "$option" ] || scripts/config -e ANON_VMA_NAME
	made "$number"
	[ -z "$option" ] || grep -qx CONFIG_ANON_VMA_NAME=y .config || fail "$number: the option does not hold"
	boots "$number" "$shows"
done
rm -rf "$work"
