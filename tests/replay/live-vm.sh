#!/bin/bash
# SPDX-License-Identifier: MIT
# live.py and exactness.py again on a kernel that has names, with swap, KSM and huge pages of its own;
# and hostile.py, which holds a lock that everybody's ps waits for, on one that has FUSE;
# and watch.py there, beside control groups of version 2 that are driven into their limits, and gdb.py and core.py, where the kernel writes cores.
: "${abs_top_builddir:=$PWD}"
here=$(cd "$(dirname "$0")" && pwd)
run=$here/../vm/vm-run
[ -x "$run" ] || { echo "SKIP: no tests/vm/vm-run"; exit 77; }
in_vm() {
	local kernel=$1 status=0
	shift
	"$run" -k "$kernel" -t 1200 -m 2G -e abs_top_builddir="$abs_top_builddir" -e ANONNAME_WHOLE_MACHINE=1 -- "$@" || status=$?
	[ $status = 0 ] || [ $status = 125 ] || exit $status
	[ $status = 0 ] || { echo "SKIP: the virtual machine could not be started"; exit 77; }
}

in_vm linux-6.1 sh -c '
	echo 256M >/sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
	python3 "$0/live.py" 5 || exit
	exec python3 "$0/exactness.py" root "root without CAP_SYS_ADMIN" owner' "$here"
in_vm debian-6.1-plain sh -c '
	"$abs_top_builddir/tools/anonname" check | grep -F "patches/module" || { echo "FAIL  check says nothing of the module"; exit 1; }
	python3 "$0/hostile.py" faults fuse || exit
	mount -t cgroup2 none /sys/fs/cgroup || exit
	python3 "$0/../pictures/watch.py" real || exit
	echo core >/proc/sys/kernel/core_pattern
	exec python3 "$0/../live/gdb.py"' "$here"
in_vm debian-6.1-plain sh -c '
	echo core >/proc/sys/kernel/core_pattern
	exec python3 "$0/../outside/core.py" kernel' "$here"
