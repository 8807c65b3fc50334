#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the example with jemalloc, with malloc and without the library, and looks at what it says and shows.
build=$PWD
server=$build/tests/examples/server
wrong=0

says() {
	grep -q -- "$2" <<<"$1" || { echo "FAIL: no line with '$2' in:"; echo "$1"; wrong=1; }
}

commands() {
	for i in $(seq 1 500); do echo "get page$i"; echo "login user$i"; done
	echo "get page7"
	echo "find page7"
	echo "logout user9"
	echo "memory"
	# Until what it has was looked at.
	while [ -n "${1-}" ] && [ ! -e "$1" ]; do sleep 0.1; done
	echo "flush"
	echo "get page7"
	echo "quit"
}

export ANONNAME_LIBRARY=$build/.libs/libanonname.so
unset LD_PRELOAD
without=$(commands | "$server")
says "$without" "hit page page7"
says "$without" "memory without a name"
says "$without" "^miss page page7"
with=$(commands | tools/anonname run "$server")
says "$with" "hit page page7"
says "$with" "named ranges"
jemalloc=$(ldconfig -p | awk '/libjemalloc.so.2 /{print $NF; exit}')
if [ -n "$jemalloc" ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	mkfifo "$work/in"
	tools/anonname run -a jemalloc "$server" <"$work/in" >"$work/out" &
	pid=$!
	commands "$work/seen" >"$work/in" &
	# It answers each line at once.
	until grep -q "bytes in index:heap" "$work/out" || ! kill -0 "$pid"; do sleep 0.1; done
	maps=$(tools/anonname maps --names kernel,registry "$pid")
	report=$(tools/anonname report --names kernel,registry "$pid")
	touch "$work/seen"
	wait "$pid" || { echo "FAIL: the server ended with $?"; wrong=1; }
	named=$(cat "$work/out")
	for s in cache sessions index; do
		says "$named" "bytes in $s:heap"
		says "$maps" "anon:$s:heap"
		says "$report" " $s:heap"
	done
	says "$maps" "anon:server:settings:1"
	says "$maps" "anon:server:visitors"
	says "$named" "^flushed"
else
	echo "SKIP: no jemalloc, so the heaps have no names: install libjemalloc2"
	[ $wrong = 0 ] && exit 77
fi
exit $wrong
