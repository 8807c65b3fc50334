#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Uprobes on libc's memory calls of a program that runs under the library:
# armed before it starts, while it runs, and again. The program lives, its
# labels are right, and each call is counted: as often as without the library.
# perf and bpftrace the same, where they are installed. bcc's memleak is not run: it
# compiles its program anew against the headers of the running kernel, which in a
# virtual machine takes two minutes a run. Its probes are those that bpftrace puts here;
# what it follows from them is frame pointers, which step.c looks at.
# usage: probes.sh   (as root with tracefs, in the build directory)

set -u
build=$PWD
trace=/sys/kernel/tracing
program=$build/tests/live/probed
library=$build/.libs/libanonname.so
functions='mmap munmap mremap mprotect'
out=$(mktemp -d "${TMPDIR:-/tmp}/probes.XXXXXX")
failed=0
export LC_ALL=C
unset "${!ANONNAME_@}" LD_PRELOAD

[ -d $trace/events ] || mount -t tracefs tracefs $trace 2>/dev/null
[ -w $trace/uprobe_events ] || { echo "SKIP: no $trace/uprobe_events: not root, or a kernel without uprobes"; exit 77; }
trap 'disarm; rm -rf "$out"' EXIT
# A program that died reads no more.
trap '' PIPE

# A libc of its own: what is probed is this program alone.
libc=$out/libc.so.6
cp "$(ldd "$program" | awk '$1 == "libc.so.6" { print $3 }')" "$libc"

# The lines that arm them, but for p or r. A process takes a second in a slow machine, so few are started.
definitions=$(readelf -W --dyn-syms "$libc" | awk -v libc="$libc" \
	'$8 ~ /^(mmap|munmap|mremap|mprotect)@/ { sub(/@.*/, "", $8); print ":probes/x_" $8, libc ":0x" $2 }')

# arm KIND: p for a uprobe, r for a uretprobe, on each function.
arm() {
	local line
	while read -r line; do echo "$1$line" >>$trace/uprobe_events || return; done <<<"$definitions"
	echo 1 >$trace/events/probes/enable
}

disarm() {
	[ -d $trace/events/probes ] || return 0
	echo 0 >$trace/events/probes/enable
	cat $trace/uprobe_profile >>"$out/hits"
	echo >$trace/uprobe_events
}

# rounds KIND WHEN PRELOAD: three rounds of the program; counts to $out/hits, its status is ours.
rounds() {
	local kind=$1 when=$2 to from pid line
	: >"$out/hits"
	[ "$when" != before ] || arm "$kind"
	coproc env LD_LIBRARY_PATH="$out" LD_PRELOAD="$3" "$program" 2>&1
	to=${COPROC[1]} from=${COPROC[0]} pid=$COPROC_PID
	for round in 1 2 3; do
		case $when,$round in
		while,2 | again,1 | again,3) arm "$kind" ;;
		esac
		echo >&"$to"
		while read -r line <&"$from" && [ "$line" != round ]; do echo "$line"; done
		case $when,$round in
		while,3 | again,1 | again,3) disarm ;;
		esac
	done
	exec {to}>&-
	cat <&"$from"
	wait "$pid"
	line=$?
	disarm
	return $line
}

# told TITLE STATUS: what is wrong is in $out/said.
told() {
	if [ "$2" = 0 ]; then echo "ok    $1"; else echo "FAIL  $1 (status $2)"; sed 's/^/      /' "$out/said"; failed=1; fi
}

case_of() {
	local title="$1, $2" status
	rounds "$3" "$2" "" >"$out/said" 2>&1
	mv "$out/hits" "$out/without"
	rounds "$3" "$2" "$library" >"$out/said" 2>&1
	status=$?
	[ $status != 0 ] || { diff "$out/without" "$out/hits" >>"$out/said" 2>&1; status=$?; }
	# Each was hit, or nothing is compared.
	! grep -q ' 0$' "$out/hits" && [ -s "$out/hits" ] || { cat "$out/hits" >>"$out/said"; status=1; }
	told "$title" $status
}

for when in before while again; do
	case_of "uprobes" $when p
	case_of "uretprobes" $when r
done

# --- real tools --------------------------------------------------------------------
perf_counts() {
	local f status events=
	for f in $functions; do events+="${events:+,}probe_libc:$f"; done
	printf '\n\n' | LD_LIBRARY_PATH="$out" LD_PRELOAD="$1" perf stat -x , -o "$out/stat" -e "$events" "$program" >"$out/said" 2>&1
	status=$?
	awk -F , '/probe_libc/ { print $3, $1 }' "$out/stat"
	return $status
}

if command -v perf >/dev/null; then
	for f in $functions; do perf probe -q -x "$libc" "$f" >/dev/null 2>&1; done
	perf_counts "" >"$out/without"
	perf_counts "$library" >"$out/with"
	status=$?
	[ $status != 0 ] || { diff "$out/without" "$out/with" >>"$out/said"; status=$?; }
	[ "$(awk '$2 > 0' "$out/with" | wc -l)" = 4 ] || { cat "$out/with" >>"$out/said"; status=1; }
	perf probe -q -d 'probe_libc:*' >/dev/null 2>&1
	told "perf probe" $status
else
	echo "SKIP  perf probe: no perf"
fi

bpftrace_counts() {
	local f script=
	for f in $functions; do
		script+="uprobe:$libc:$f { @[\"$f\"] = count(); } uretprobe:$libc:$f { @[\"$f returns\"] = count(); } "
	done
	printf '\n\n' | bpftrace -q -e "$script" -c "/usr/bin/env LD_LIBRARY_PATH=$out LD_PRELOAD=$1 $program" >"$out/said" 2>&1
	grep '^@' "$out/said" | sort
}

if command -v bpftrace >/dev/null; then
	bpftrace_counts "" >"$out/without"
	bpftrace_counts "$library" >"$out/with"
	diff "$out/without" "$out/with" >>"$out/said"
	status=$?
	[ "$(wc -l <"$out/with")" = 8 ] || status=1
	! grep -q "probed.c:" "$out/said" || status=1
	told "bpftrace" $status
else
	echo "SKIP  bpftrace: it is not installed"
fi
exit $failed
