#!/bin/bash
# SPDX-License-Identifier: MIT
#
# module-guest.sh DIR LOADS SECONDS SEED: the part of run-module.sh that runs in
# the VM, under Debian's own kernel.  DIR has the module and the programs.

set -uo pipefail
dir=$1 loads=$2 seconds=$3 seed=$4
bad=0
complain() { echo "FAIL: $*"; bad=1; }
# expect WHAT EXPECTED ACTUAL
expect() { [ "$2" = "$3" ] && echo "ok    $1" || complain "$1: expected '$2', got '$3'"; }

load() { busybox insmod "$dir/${1:-anonname}.ko" 2>/dev/null; }
unload() { busybox rmmod anonname 2>/dev/null; }
names() { cat /sys/module/anonname/parameters/names; }
last_reason() { dmesg | sed -n 's/.*\(anonname\|stranger\): not loaded: //p' | tail -n 1; }

tracing=/sys/kernel/tracing
mountpoint -q $tracing || mount -t tracefs tracefs $tracing
hooked() { wc -l <$tracing/enabled_functions; }
# trace TRACER: the same functions are somebody else's to look at, too; nop ends it.
trace() {
	echo nop >$tracing/current_tracer
	[ "$1" = nop ] || printf '%s\n' vm_area_dup vm_area_free vma_merge mmap_region __x64_sys_prctl >$tracing/set_ftrace_filter
	echo "$1" >$tracing/current_tracer
}

# refused WHAT REASON [COMMAND...]: a load with COMMAND before it is refused with that reason, and all is as before.
refused() {
	local what=$1 reason=$2
	shift 2
	if "$@" busybox insmod "$dir/anonname.ko" 2>/dev/null; then
		complain "$what: it was loaded"
		unload
	fi
	case $(last_reason) in
	*"$reason"*) expect "refused: $what" "0 not named, not shown" "$(hooked) $("$dir/named")" ;;
	*) complain "$what: dmesg says '$(last_reason)'" ;;
	esac
}
# With so few VMAs to have that the trial's memory cannot be cut into pieces.
poor() {
	local most status
	most=$(cat /proc/sys/vm/max_map_count)
	busybox wc -l /proc/self/maps | cut -d ' ' -f 1 >/proc/sys/vm/max_map_count
	"$@"
	status=$?
	echo "$most" >/proc/sys/vm/max_map_count
	return $status
}

expect "without the module" "not named, not shown" "$("$dir/named")"
expect "the same, 32 bits" "-22 -22 -22, not shown" "$("$dir/called32")"
echo 0 >/proc/sys/kernel/ftrace_enabled
refused "ftrace switched off" "kernel.ftrace_enabled is 0"
echo 1 >/proc/sys/kernel/ftrace_enabled
refused "the trial fails, all hooks in place" "the trial" poor

load || complain "it was not loaded: $(last_reason)"
expect "with the module" "named, shown" "$("$dir/named")"
expect "the same, 32 bits" "0 -22 -22, shown" "$("$dir/called32")"
echo 0 2>/dev/null >/proc/sys/kernel/ftrace_enabled
expect "ftrace cannot be switched off under it" 1 "$(cat /proc/sys/kernel/ftrace_enabled)"
load stranger && complain "two modules hook the same functions"
case $(last_reason) in
*"is hooked by somebody else"*) expect "another live patch of the same functions is refused" "named, shown" "$("$dir/named")" ;;
*) complain "two modules: dmesg says '$(last_reason)'" ;;
esac

trace function
load stranger && complain "two modules hook the same functions, traced"
expect "the same while they are traced" "named, shown" "$("$dir/named")"
grep -q 'vm_area_dup' $tracing/trace || complain "the tracer saw nothing"
trace nop
expect "and afterwards" "named, shown" "$("$dir/named")"

charged() { awk '/^kmalloc-cg-/ { n += $2 } END { print n }' /proc/slabinfo; }
before=$(charged)
coproc held { "$dir/stress" --hold 20000; }
holder=$held_PID
read -r _ <&"${held[0]}"
expect "names are counted" 20000 "$(names)"
more=$(($(charged) - before))
[ $more -ge 19000 ] && echo "ok    names are charged to the memory cgroup" || complain "$more of 20000 names are charged"
unload && complain "it was unloaded while names live"
expect "unload is refused while a name lives" "named, shown" "$("$dir/named")"
exec {held[1]}>&-
wait $holder
for ((i = 0; i < 100; i++)); do [ "$(names)" = 0 ] && break; sleep 0.1; done
unload || complain "it was not unloaded"
expect "after unload" "0 not named, not shown" "$(hooked) $("$dir/named")"

for ((i = 0; i < loads / 5; i++)); do refused "the trial fails, once more" "the trial" poor; done

# Loads, each fifth after a refusal, while programs run that name where they can; half of them under a tracer.
for i in 1 2; do
	while sleep 0.1; do "$dir/named"; done >"/tmp/named.$i" &
done
workers=$(jobs -p)
for ((i = 0; i < loads; i++)); do
	if [ $((i % 5)) = 0 ]; then
		echo 0 >/proc/sys/kernel/ftrace_enabled
		! load || complain "load $i was not refused"
		echo 1 >/proc/sys/kernel/ftrace_enabled
	fi
	[ $i != $((loads / 2)) ] || trace function
	load || complain "load $i: $(last_reason)"
	# The first stays until a program has seen it.
	for ((try = 0; i == 0 && try < 600; try++)); do grep -qx 'named, shown' /tmp/named.* && break; sleep 0.1; done
	for ((try = 0; try < 1000; try++)); do unload && break; done
	[ $try != 1000 ] || { complain "load $i: it is never unloaded"; break; }
	[ $((i % 100)) != 99 ] || echo "ok    $((i + 1)) loads so far"
done
kill $workers
wait 2>/dev/null
trace nop
expect "$loads loads, each fifth after a refusal" 0 "$(hooked)"
expect "a program that named meanwhile saw one or the other" "" \
	"$(cat /tmp/named.* | grep -vxE 'named, shown|(not )?named, not shown')"
grep -qx 'named, shown' /tmp/named.* || complain "no program named while the module came and went"

load || complain "it was not loaded: $(last_reason)"
echo 200 >/proc/sys/vm/max_map_count
"$dir/stress" "$seconds" "$seed" || complain "the program's own checks"
for ((i = 0; i < 100; i++)); do [ "$(names)" = 0 ] && break; sleep 0.1; done
expect "no name is left after the stress" 0 "$(names)"
unload || complain "it was not unloaded after the stress"

report='BUG|WARNING|refcount_t|Oops|general protection|bad (rss|page)|Bad (rss|page)|corrupt'
if dmesg | grep -qE "$report"; then
	complain "the kernel's log:"
	dmesg | grep -E -B 2 -A 30 "$report" | head -100
fi
# After many loads the log has lost its beginning. What a report leaves here stays; the module itself is from outside (4096) and unsigned (8192).
expect "no report since the start" 0 $(($(cat /proc/sys/kernel/tainted) & ~(4096 | 8192)))
# Last, because it is not to be taken back: no module comes in unsigned.
if mountpoint -q /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security; then
	echo integrity >/sys/kernel/security/lockdown
	load && complain "it was loaded under lockdown"
	expect "refused: lockdown" "not named, not shown" "$("$dir/named")"
fi
[ $bad = 0 ] && echo "module: all as expected"
exit $bad
