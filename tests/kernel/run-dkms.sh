#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run-dkms.sh DEBS: the package anonname-dkms, from DEBS, where
# tools/build-deb.sh left it (build-deb/bookworm/debs).  It is installed in the
# Debian 12 that packages are built in, beside the headers of its kernel, so dkms
# builds the module; removing it leaves nothing.  Then Debian's own kernel boots in the VM with that
# module, a program runs under the library of the same packages, and its maps
# must have names.  It needs root and debootstrap; five minutes.
#
# Exit status: 0 as it should be, 1 not, 77 nothing could be run.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/lib.sh"

[ $# = 1 ] && debs=$(cd "$1" && pwd -P) || fail "usage: run-dkms.sh DEBS"
ls "$debs"/anonname-dkms_*.deb "$debs"/libanonname0_*.deb >/dev/null || fail "$debs has no packages: run tools/build-deb.sh bookworm"
[ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null || skip "it needs root and debootstrap"
have_kernel debian-6.1-plain
image=$(dpkg-deb -f "$("$vm/fetch-source" linux-image-amd64 bookworm)" Depends | grep -oE 'linux-image-[^ ,]+' | head -n 1)
release=${image#linux-image-}

# In the chroot a directory has its last word for a name.
rm -rf "$build/dkms" "$build/debs"
mkdir -p "$build/dkms" "$build/debs"
cp "$debs"/*.deb "$build/debs"
install='
apt-get update -qq
apt-cache show linux-headers-'$release' >/dev/null 2>&1 || exit 77
apt-get install -y -qq --no-install-recommends linux-headers-'$release'
apt-get install -y -qq --no-install-recommends /debs/anonname-dkms_*.deb
dkms status anonname
cp /lib/modules/'$release'/updates/dkms/anonname.ko* /dkms
apt-get purge -y -qq anonname-dkms
! find /lib/modules /usr/src /var/lib/dkms -name "*anonname*" | grep .'
status=0
"$top/tests/distributions/chroot" bookworm -l "$top/tools/packages.deb" -b "$build/debs" -b "$build/dkms" -- sh -exc "$install" >"$build/log" 2>&1 || status=$?
[ $status != 77 ] || skip "Debian has no linux-headers-$release any more; remove the image from the cache to get the newest"
[ $status = 0 ] || { tail -n 40 "$build/log"; fail "the package is not installed and removed as it should be"; }
grep -q "^anonname/.*$release.*: installed" "$build/log" || fail "dkms does not say that the module is installed"
echo "ok    installed, built for $release, removed without a trace"

case $(ls "$build/dkms") in
*.xz) xz -d "$build/dkms"/*.xz ;;
esac
dpkg-deb -x "$debs"/libanonname0_*.deb "$build/dkms"
in_vm debian-6.1-plain -c 1 -m 1G -- sh -ec '
	cd "$1"
	library=$(echo usr/lib/*/libanonname.so.0)
	! LD_PRELOAD=$PWD/$library cat /proc/self/maps | grep "\[anon:" || exit
	busybox insmod anonname.ko
	LD_PRELOAD=$PWD/$library cat /proc/self/maps >/tmp/maps
	grep "\[anon:" /tmp/maps || { cat /tmp/maps; exit 1; }' sh "$build/dkms" || fail "no names under Debian's own kernel"
echo "ok    Debian's own kernel shows names"
