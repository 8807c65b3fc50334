#!/bin/bash
# SPDX-License-Identifier: MIT
# The built-in rules on the real programs, and that bad rules are told with line and column.
build=$PWD
library=$build/.libs/libanonname.so
wrong=0 tried=0

# expect NAME COMMAND...: within ten seconds some memory of the running command is called NAME.
expect() {
	local name=$1 pid found=1
	shift
	command -v "$1" >/dev/null || { echo "SKIP: $1 is not installed"; return; }
	tried=$((tried + 1))
	LD_PRELOAD=$library "$@" >/dev/null 2>&1 &
	pid=$!
	for _ in $(seq 1 50); do
		tools/anonname maps "$pid" 2>/dev/null | grep -q "\[anon:$name" && { found=0; break; }
		sleep 0.2
	done
	[ $found = 0 ] || { echo "FAIL: $1 has no memory called $name:"; tools/anonname maps "$pid" | grep -o '\[anon:.*' | sort | uniq -c; wrong=1; }
	kill "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
}

expect python:arena /usr/bin/python3 -c 'import time; x=[i*1.5 for i in range(300000)]; time.sleep(20)'
expect v8:heap node -e 'setTimeout(()=>{},20000)'
expect v8:cage node -e 'setTimeout(()=>{},20000)'
expect zend_alloc php -r 'sleep(20);'
expect ruby:heap ruby -e 'x=(1..300000).map{|i| i.to_s}; sleep 20'
expect luajit:heap luajit -e 'local t={} for i=1,100000 do t[i]=tostring(i) end while true do end'
java=$(mktemp -d)
trap 'rm -rf "$java"' EXIT
echo 'public class S { public static void main(String[] a) throws Exception { Thread.sleep(20000); } }' >"$java/S.java"
expect jvm:code java "$java/S.java"
expect jvm:memory java "$java/S.java"

said=$(ANONNAME_RULES='lob=x name=y;lib=cat* size>=1Q name=x; ;lib=* prot=none name=my:%q' LD_PRELOAD=$library cat /dev/null 2>&1)
for where in 1:1 2:10 4:17; do
	grep -q "ANONNAME_RULES:$where: " <<<"$said" || { echo "FAIL: nothing said of $where: $said"; wrong=1; }
done
[ "$tried" -gt 0 ] || exit 77
exit $wrong
