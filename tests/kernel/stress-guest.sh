#!/bin/bash
# SPDX-License-Identifier: MIT
#
# stress-guest.sh PROGRAM SECONDS SEED: the part of run-stress.sh that runs in
# the VM: prepares the kernel, runs the program, reads what the checkers found.

set -euo pipefail
program=$1 seconds=$2 seed=$3
bad=0
complain() { echo "FAIL: $*"; bad=1; }
log=/tmp/log

debug=/sys/kernel/debug
mountpoint -q $debug || mount -t debugfs debugfs $debug

# Objects that vma_name_alloc() allocated and nobody freed, from the caches that
# a name fits in.  KASAN keeps freed objects back for a while; shrinking a cache
# makes it let go of them.  Since 5.14 debugfs tells who allocated.
caches=$(printf 'kmalloc-%s ' 8 16 32 64 96 128)
calls=/sys/kernel/slab/%s/alloc_calls
[ -e /sys/kernel/slab/kmalloc-8/alloc_calls ] || calls=$debug/slab/%s/alloc_traces
# The module counts them itself, and memory that the cgroup pays for has caches of its own.
module=/sys/module/anonname/parameters/names
names_left() {
	local cache
	! [ -e $module ] || { cat $module; return; }
	for cache in $caches; do
		echo 1 >/sys/kernel/slab/$cache/shrink
	done
	cat $(printf "$calls " $caches) | awk '/ vma_name_alloc\+/ { n += $1 } END { print n + 0 }'
}

# What is killed for want of memory is not this script: children reset it.
echo -1000 >/proc/self/oom_score_adj

# The kernel's buffer holds few reports of killing, so the log is kept here.
dmesg -c >$log
while sleep 1; do dmesg -c >>$log; done &
reader=$!

# On a busy host the guest's processors stand still now and then.  What waits for
# ever still shows: the run does not end.
echo 1 >/sys/module/rcupdate/parameters/rcu_cpu_stall_suppress
echo 0 >/proc/sys/kernel/hung_task_timeout_secs
echo 0 >/proc/sys/vm/oom_dump_tasks

# Pages to swap, allocations that may fail although they may wait.
echo 256M >/sys/block/zram0/disksize
mkswap /dev/zram0 >/dev/null
swapon /dev/zram0
echo N >$debug/failslab/ignore-gfp-wait
echo 0 >$debug/failslab/verbose
echo scan=off >$debug/kmemleak

"$program" --fail || complain "the failing allocation of a name"

coproc held { "$program" --hold 100; }
holder=$held_PID
read -r _ <&"${held[0]}"
left=$(names_left)
[ "$left" = 100 ] || complain "the count of names sees $left of 100"
exec {held[1]}>&-
wait $holder || complain "holding names"
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

# On its way out the module must not leave anything, either.
for ((i = 0; i < 10; i++)); do
	[ -d "${module%/*}" ] || break
	busybox rmmod anonname || { complain "the module is not unloaded"; break; }
	busybox insmod "${program%/*}/anonname.ko" || complain "the module is not loaded again"
done

# kmemleak reports what it finds twice, and nothing younger than five seconds.
sleep 6
echo scan >$debug/kmemleak
echo scan >$debug/kmemleak
leaks=$(cat $debug/kmemleak)
[ -z "$leaks" ] || complain "kmemleak: $leaks"

# Killing for want of memory is what the run asks for; all else is a report.
report='BUG|KASAN|WARNING|refcount_t|INFO: (possible|trying)|circular locking|inconsistent lock|suspicious RCU|sleeping function|Oops|general protection|kernel BUG|bad (rss|page)|Bad (rss|page)|corrupt|Lockdep is|turning off the locking|kmemleak: .*(disabled|new suspected)'
kill $reader
wait $reader || :
dmesg -c >>$log
if grep -qE "$report" $log; then
	complain "the kernel's log:"
	grep -E -B 2 -A 40 "$report" $log | head -200
fi
grep -q 'Linux version' $log || complain "the beginning of the kernel's log is lost"
kills=$(grep -c 'Out of memory: Killed' $log || :)

[ $bad = 0 ] &&
	echo "stress: no report in the kernel's log, nothing from kmemleak, 0 names left ($kills processes killed for want of memory)"
exit $bad
