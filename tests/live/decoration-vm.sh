#!/bin/bash
# SPDX-License-Identifier: MIT
#
# glibc names its memory itself (glibc.mem.decorate_maps=1), and still all names
# are ours: the live programs that look at them, in a virtual machine whose
# kernel has names, with the libc of newer releases in place of this machine's.
# usage: decoration-vm.sh [SUITE...]    (default: trixie, 2.41; sid, 2.43)

here=$(cd "$(dirname "$0")" && pwd)

# What runs in the virtual machine: every file of that libc is seen in place of
# this machine's, and the live programs that look at names run on it.
if [ "${1-}" = --inside ]; then
	set -e
	new=/tmp/new libc=$2
	mkdir $new
	mount --bind / $new
	for place in proc sys dev tmp; do mount --rbind /$place $new/$place; done
	find "$libc" -type f -name '*.so*' | while read -r file; do
		[ ! -e "$new${file#"$libc"}" ] || mount --bind "$file" "$new${file#"$libc"}"
	done
	export GLIBC_TUNABLES=glibc.mem.decorate_maps=1
	chroot $new cat /proc/self/maps | grep -q 'anon: glibc: ' || { echo "this libc names nothing itself"; exit 1; }
	chroot $new /bin/bash -ec "cd '$PWD'; /lib64/ld-linux-x86-64.so.2 --version | sed -n 1p; '$here/live.sh' \
		'stacks through' 'that asked malloc' 'names by' 'names through' 'labels in children' 'PR_SET_VMA by'"
	exit
fi

[ $# -gt 0 ] || set -- trixie sid
run=$here/../vm/vm-run
[ -x "$run" ] || { echo "SKIP: no tests/vm/vm-run"; exit 77; }
work=$(mktemp -d "$PWD/decoration.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0
for suite in "$@"; do
	deb=$("$here/../vm/fetch-source" libc6 "$suite") || { echo "SKIP: no libc6 of $suite"; exit 77; }
	dpkg-deb -x "$deb" "$work/$suite"
	"$run" -t 1800 -m 2G -e LIVE_ALARM=900 -- "$here/decoration-vm.sh" --inside "$work/$suite"
	status=$?
	[ $status != 125 ] || { echo "SKIP: the virtual machine could not be started"; exit 77; }
	[ $status = 0 ] || { echo "FAIL: libc6 of $suite"; failed=1; }
done
exit $failed
