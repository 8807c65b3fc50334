#!/bin/bash
# SPDX-License-Identifier: MIT
#
# stress-guest.sh PROGRAM SECONDS SEED: the part of run-stress.sh that runs in
# the VM: prepares the kernel, runs the program, reads what the checkers found.

set -euo pipefail
program=$1 seconds=$2 seed=$3
bad=0
complain() { echo "FAIL: $*"; bad=1; }

debug=/sys/kernel/debug
mountpoint -q $debug || mount -t debugfs debugfs $debug

# Objects that vma_name_alloc() allocated and nobody freed.  KASAN keeps freed
# objects back for a while; shrinking a cache makes it let go of them.
names_left() {
	local cache
	for cache in /sys/kernel/slab/kmalloc-*; do
		[ -L "$cache" ] || echo 1 >"$cache/shrink"
	done
	cat $(find /sys/kernel/slab -mindepth 2 -maxdepth 2 -path '*/kmalloc-*/alloc_calls' ! -path '*/:*') |
		awk '/ vma_name_alloc\+/ { n += $1 } END { print n + 0 }'
}

# Pages to swap, allocations that may fail although they may wait.
echo 256M >/sys/block/zram0/disksize
mkswap /dev/zram0 >/dev/null
swapon /dev/zram0
echo N >$debug/failslab/ignore-gfp-wait
echo 0 >$debug/failslab/verbose
echo scan=off >$debug/kmemleak

"$program" --fail || complain "the failing allocation of a name"

coproc held { "$program" --hold 100; }
read -r _ <&"${held[0]}"
left=$(names_left)
[ "$left" = 100 ] || complain "the count of names sees $left of 100"
exec {held[1]}>&-
wait "$held_PID" || complain "holding names"
left=$(names_left)
[ "$left" = 0 ] || complain "$left names are left before the run"

# So few VMAs that the limit is met all the time.
echo 200 >/proc/sys/vm/max_map_count
"$program" "$seconds" "$seed" || complain "the program's own checks"

# What a process leaves is freed a moment after it is gone.
for ((i = 0; i < 20; i++)); do
	left=$(names_left)
	[ "$left" = 0 ] && break
	sleep 0.5
done
[ "$left" = 0 ] || complain "$left names were never freed"

# kmemleak reports what it finds twice, and nothing younger than five seconds.
sleep 6
echo scan >$debug/kmemleak
echo scan >$debug/kmemleak
leaks=$(cat $debug/kmemleak)
[ -z "$leaks" ] || complain "kmemleak: $leaks"

# Killing for want of memory is what the run asks for; all else is a report.
report='BUG|KASAN|WARNING|refcount_t|INFO: (task|possible|rcu|trying)|circular locking|inconsistent lock|suspicious RCU|sleeping function|Oops|general protection|kernel BUG|bad (rss|page)|Bad (rss|page)|corrupt|Lockdep is|turning off the locking|kmemleak: .*(disabled|new suspected)'
dmesg >/tmp/log
if grep -qE "$report" /tmp/log; then
	complain "the kernel's log:"
	grep -E -B 2 -A 40 "$report" /tmp/log | head -200
fi
kills=$(grep -c 'Out of memory: Killed' /tmp/log || :)

[ $bad = 0 ] &&
	echo "stress: no report in the kernel's log, nothing from kmemleak, 0 names left ($kills processes killed for want of memory)"
exit $bad
