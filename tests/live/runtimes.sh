#!/bin/bash
# SPDX-License-Identifier: MIT
# The built-in rules on the real programs, and that bad rules are told with line and column.
# Run from the build directory.
build=$PWD
library=$build/.libs/libanonname.so
wrong=0 tried=0 skipped=
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# expect "NAME..." COMMAND...: some memory of the running command is called so, sooner or later.
expect() {
	local names=$1 name pid missing
	shift
	command -v "$1" >/dev/null || { skipped+=" ${1##*/}"; return; }
	tried=$((tried + 1))
	LD_PRELOAD=${first:+$first:}$library "$@" >/dev/null 2>"$work/err" &
	pid=$!
	# A minute: a virtual machine that comes up on a busy computer is slow.
	for _ in $(seq 1 300); do
		tools/anonname maps "$pid" >"$work/maps" 2>/dev/null
		missing=
		for name in $names; do
			grep -q "\[anon:$name\]" "$work/maps" || missing+=" $name"
		done
		[ -z "$missing" ] && break
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.2
	done
	if [ -n "$missing" ]; then
		echo "FAIL: $1 has no memory called$missing; it has:"
		grep -o '\[anon:.*' "$work/maps" | sort | uniq -c
		head -n 3 "$work/err"
		wrong=1
	else
		echo "ok    $1: $names"
	fi
	kill -KILL "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
}

python='import time; x=[i*1.5 for i in range(300000)]; time.sleep(100)'
expect python:arena /usr/bin/python3 -c "$python"
# Debian's gdb has Python in it as a library.
expect python:arena gdb -nx -q -batch -ex "python $python"
expect "v8:heap v8:cage" node -e 'setTimeout(()=>{},100000)'
expect zend_alloc php -r 'sleep(100);'
first=$build/tests/live/libunnamed.so expect php:heap php -r 'sleep(100);'
expect ruby:heap ruby -e 'x=(1..300000).map{|i| i.to_s}; sleep 100'
if ruby --yjit -e 1 2>/dev/null; then
	expect "ruby:heap ruby:jit" ruby --yjit -e 'x=(1..300000).map{|i| i.to_s}; sleep 100'
else
	skipped+=" ruby-with-yjit"
fi
expect "luajit:heap luajit:code" luajit -e 'local t={} for i=1,100000 do t[i]=tostring(i) end while true do end'
expect pypy:jit pypy3 -c 'import time
n = 0
for i in range(1000000): n += i % 7
time.sleep(100)'

# A program that Debian's headless Java has, and that waits.
expect "jvm:code jvm:memory jvm:reserve" rmiregistry 0

if command -v go >/dev/null; then
	cat >"$work/main.go" <<-'GO'
		package main

		// #include <stdlib.h>
		import "C"
		import "time"

		func main() {
			C.free(C.malloc(10))
			time.Sleep(100 * time.Second)
		}
	GO
	HOME=$work GOCACHE=$work/cache GO111MODULE=off CGO_ENABLED=1 go build -o "$work/cgo" "$work/main.go" &&
		expect "go:heap go:reserve" "$work/cgo"
else
	skipped+=" go"
fi

said=$(ANONNAME_RULES='lob=x name=y;lib=cat* size>=1Q name=x; ;lib=* prot=none name=my:%q' LD_PRELOAD=$library cat /dev/null 2>&1)
for where in 1:1 2:10 4:17; do
	grep -q "ANONNAME_RULES:$where: " <<<"$said" || { echo "FAIL: nothing said of $where: $said"; wrong=1; }
done
[ -z "$skipped" ] || echo "SKIP: not installed:$skipped"
[ "$tried" -gt 0 ] || exit 77
exit $wrong
