#!/bin/bash
# SPDX-License-Identifier: MIT
#
# build-deb.sh [-o DIR] [SUITE...]: builds the Debian packages in a clean chroot
# of each release (default: bookworm trixie), lets lintian look at them, installs
# them in another clean chroot and runs their test there. They are left in
# DIR/SUITE (default build-deb/). It needs root and debootstrap.

set -uo pipefail

die() { echo "build-deb.sh: $*" >&2; exit 1; }

cd "$(dirname "$0")/.." || exit
out=build-deb
[ "${1-}" = -o ] && { out=${2:?DIR is missing}; shift 2; }
[ $# -gt 0 ] || set -- bookworm trixie
work=$(mktemp -d "${TMPDIR:-/tmp}/build-deb.XXXXXX") || exit
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/source"
{ git ls-files -z 2>/dev/null || find . -type f -print0; } | tar --null -T - -c | tar -x -C "$work/source" ||
	die "the source cannot be copied"
enter=tests/distributions/chroot

# The build is a user's; /debs is where the packages go.
build='
apt-get update -qq
apt-get build-dep -y -qq --no-install-recommends /source
useradd --create-home builder
cp -r /source ~builder/libanonname
chown -R builder ~builder
cd ~builder/libanonname
su builder -c "dpkg-buildpackage --no-sign -b"
su builder -c "lintian --fail-on error,warning ../*.changes"
cp ../*.deb ../*.changes ../*.buildinfo /debs'
try='
apt-get update -qq
apt-get install -y -qq --no-install-recommends /debs/*.deb
cp -r /source /tmp/libanonname
autopkgtest --ignore-restrictions=none /debs/*.deb /tmp/libanonname -- null'

failed=
for suite in "$@"; do
	debs=$out/$suite/debs
	rm -rf "${out:?}/$suite"
	mkdir -p "$debs"
	if $enter "$suite" -l tools/packages.deb -b "$work/source" -b "$debs" -- sh -exc "$build" >"$debs/../build.log" 2>&1 &&
		$enter "$suite" -l tools/packages.autopkgtest -b "$work/source" -b "$debs" -- sh -exc "$try" >"$debs/../test.log" 2>&1; then
		echo "$suite: built, lintian clean, installed and tested: $debs"
	else
		failed+=" $suite"
		tail -n 40 "$(ls -t "$debs"/../*.log | head -n 1)"
	fi
done
[ -z "$failed" ] || die "failed:$failed"
