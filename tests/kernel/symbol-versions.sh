#!/bin/bash
# SPDX-License-Identifier: MIT
#
# symbol-versions.sh [SERIES]: do modules built for a kernel still load into one with
# the series (default linux-5.10)?  The kernel is built with MODVERSIONS (and NUMA and MEMCG, which
# bring in more types) without the series, with it and the option off, and with
# the option on; the versions of all exported symbols must be the same.  The
# optional patch must change some: it says so, and that shows that the
# comparison can fail.  Half an hour on two processors.
#
# Exit status: 0 as it should be, 1 not, 77 nothing could be run.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/lib.sh"
series=${1:-linux-5.10}

versions=$build/versions
work=$versions/tree
rm -rf "$versions"
mkdir -p "$versions"
plain_tree "$series" "$work"
cd "$work"
scripts/config -e MODULES -e MODVERSIONS -e NUMA -e X86_64_ACPI_NUMA -e CGROUPS -e MEMCG
make -s ARCH=x86_64 olddefconfig >/dev/null
grep -qx CONFIG_MODVERSIONS=y .config && grep -qx CONFIG_NUMA=y .config && grep -qx CONFIG_MEMCG=y .config ||
	fail "MODVERSIONS, NUMA and MEMCG cannot be had"

# versions_of WHAT: builds the kernel as it is configured and keeps its versions.
versions_of() {
	make_kernel "$1" vmlinux "$versions/log"
	cut -f 1,2,4 vmlinux.symvers | sort >"$versions/$1"
	! grep -q '^0x00000000' "$versions/$1" || fail "$1: symbols without a version"
}

# same WHAT: as without the series?
same() {
	diff -u "$versions/plain" "$versions/$1" >"$versions/$1.diff" || {
		head -n 20 "$versions/$1.diff"
		fail "with the option $1 $(grep -c '^+0x' "$versions/$1.diff") symbols have another version"
	}
	echo "ok    option $1: $(wc -l <"$versions/$1") exported symbols, all of the same version"
}

versions_of plain
apply "$top/patches/$series"/*.patch
versions_of off
same off
scripts/config -e ANON_VMA_NAME
versions_of on
grep -qx CONFIG_ANON_VMA_NAME=y .config || fail "the option does not hold"
same on
apply "$top/patches/$series"/optional/*.patch
versions_of optional
! diff -u "$versions/plain" "$versions/optional" >"$versions/optional.diff" || fail "the optional patch changes no version"
echo "ok    optional patch: $(grep -c '^+0x' "$versions/optional.diff") symbols have another version, as it says"
rm -rf "$work"
