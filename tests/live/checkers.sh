#!/bin/bash
# SPDX-License-Identifier: MIT
# Live programs under the library and under valgrind, which finds nothing to say. Run from the build directory.

library=$PWD/.libs/libanonname.so
unset "${!ANONNAME_@}" LD_PRELOAD
command -v valgrind >/dev/null || { echo "SKIP: no valgrind here (apt-get install valgrind)"; exit 77; }
failed=0

# quiet [VAR=VALUE...] PROGRAM [ARG...]: neither the program nor valgrind has anything to say against it.
quiet() {
	local vars=()
	while [[ $1 == [A-Z]*=* ]]; do vars+=("$1"); shift; done
	# With its own malloc in place of jemalloc's there would be no extents.
	# One thread runs at a time: without turns two that never wait can keep a third from its turn for minutes.
	env "${vars[@]}" LIVE_ALARM=900 LD_PRELOAD="$library" valgrind -q --error-exitcode=9 --trace-children=yes --fair-sched=try \
		--soname-synonyms=somalloc=nouserintercepts "tests/live/$1" "${@:2}"
	local status=$?
	echo "valgrind: $*: exit status $status"
	[ "$status" = 0 ] || failed=1
}

# The name of a thread is valgrind's own there.
quiet ANONNAME_STACK=stack:%t styled styled:mmap stack:%t
for program in kept loads setvma busy; do quiet "$program"; done
if [ -x tests/live/extents ]; then
	quiet extents
	quiet ANONNAME_JEMALLOC_ARENAS=thread arenas
	quiet heaps 20
fi

# 30 MB there are valgrind's own. The dynamic linker never mapped them, and they have no name of ours.
LD_PRELOAD="$library" valgrind -q --tool=none sleep 60 &
watched=$!
until early=$(tools/anonname report --csv -o rss,name "$watched" 2>/dev/null | awk -F, '$2 == "ld.so:tls" { tls = 1 } $2 == "ld.so:early" { early = $1 } END { if (!tls) exit 1; print early + 0 }'); do
	kill -0 "$watched" || break
	sleep 0.2
done
kill "$watched"
echo "valgrind: ld.so:early has $early bytes"
[ "${early:-1000000}" -lt 1000000 ] || failed=1
exit $failed
