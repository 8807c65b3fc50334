#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run-stress.sh [SECONDS [SEED [SERIES]]]: runs stress.c for SECONDS (default 45) on a
# kernel with the series and the kernel's own checkers, in little memory, with
# zram to swap to and few VMAs to have.  Then nothing may stand in the kernel's
# log, kmemleak must find nothing, and of all names not one may be left.  Before
# that count.c tries, on this machine, what no kernel has the VMAs for.
# SERIES debian-6.1: the module, which then goes and comes ten times.
#
# The names left are counted, not guessed: SLUB keeps who allocated each object.
# That the count sees a name is tried first, on a program that holds some.
#
# Exit status: 0 nothing found, 1 something, 77 nothing could be run.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/lib.sh"

seconds=${1:-45} seed=${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')} series=${3:-linux-5.10}
kernel=$series-debug by_turns=
[[ $seconds =~ ^[0-9]+$ && $seed =~ ^[0-9]+$ ]] || fail "usage: run-stress.sh [SECONDS [SEED [SERIES]]]"

# The end of a name's count is out of a kernel's reach: the series' header, here.
end_of_count() {
	header=$build/header/linux
	mkdir -p "$header"
	rm -f "$header"/*
	touch "$header"/{mm_types,mmap_lock,refcount,slab,string}.h
	cat "$top/patches/$series"/*.patch |
		awk '/^diff --git / { on = / b\/include\/linux\/vma_name\.h$/ } /^From 0/ { on = 0 } on' |
		patch -d "$header" -p3 -s -F0 || fail "the series' header cannot be taken out"
	compile count -I"$build/header"
	"$build/count" || fail "the end of the count"
}
if [ -d "$top/patches/$series" ]; then
	end_of_count
else
	by_turns=--by-turns
	have_kernel "$kernel"
	cp "$(dirname "$(cat "$build/kernel.path")")"/modules/*-anonname.ko "$build/anonname.ko"
fi

compile stress
echo "stress: $seconds s on $kernel, seed $seed"
status=0
# Who allocated what is kept for the caches that names are in, not for all: that
# is slow.  And without ACPI the kernel does not know of the timer that it checks
# its own with; on a busy host it then finds that broken and does without.
# The time limit is for what hangs: on a busy host all but the SECONDS takes many times as long.
in_vm "$kernel" $by_turns -m 640M -c 2 -t $((6 * seconds + 5400)) \
	-a "slub_debug=U$(printf ',kmalloc-%s' 8 16 32 64 96 128)" -a pmtmr=0x608 -- \
	bash "$here/stress-guest.sh" "$build/stress" "$seconds" "$seed" || status=$?
[ $status = 0 ] || fail "stress, seed $seed: status $status"
