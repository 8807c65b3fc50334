#!/bin/bash
# SPDX-License-Identifier: MIT
# label-guest.sh TOOL TARGET [LABELS]: the part of label.sh that runs in the VM.
# A program that waits in many ways is labelled again and again, and the tool is
# killed on the way; then what may not be labelled is tried.
set -u
tool=$1 target=$2 labels=${3:-20}
bad=0
complain() { echo "FAIL: $*"; bad=1; }
refused() { # WHY PID
	said=$("$tool" label "$2" 2>&1) && complain "process $2 is to be refused: $1"
	case $said in *"$1"*) echo "ok    refused: $1" ;; *) complain "refused: $1, but said: $said" ;; esac
}
begin() {
	coproc TARGET { exec "$target" "$1"; }
	read -r _ pid <&"${TARGET[0]}"
	exec {out}<&"${TARGET[0]}"
	job=$TARGET_PID
}
ended_well() { # WHAT
	kill -USR1 "$pid"
	read -r said <&"$out"
	wait "$job" && echo "ok    $1: $said" || complain "$1: it ended otherwise: ${said-}"
}

begin 600
for ((i = 0; i < labels; i++)); do "$tool" label "$pid" 2>&1; done | sort | uniq -c
grep -c '\[anon:' "/proc/$pid/maps" | { read -r n; [ "$n" -gt 5 ] && echo "ok    $n mappings are named" || complain "$n mappings are named"; }
grep -q '\[anon:stack:' "/proc/$pid/maps" && grep -q '\[anon:glibc:large' "/proc/$pid/maps" || complain "stacks and large chunks are to be named"
ended_well "it is unchanged by labels"

begin 600
for ((i = 0; i < labels; i++)); do
	"$tool" label "$pid" >/dev/null 2>&1 & one=$!
	sleep "0.$((RANDOM % 40 + 10))"
	kill -9 "$one" 2>/dev/null
	wait "$one" 2>/dev/null
done
ended_well "it lives on when the tool is killed"

for how in filtered traced; do
	begin $how
	[ $how = traced ] && refused "is traced by another" "$pid" || refused "has a seccomp filter" "$pid"
	kill -9 "$job" "$pid"
	wait "$job" 2>/dev/null
done
exit $bad
