#!/bin/bash
# SPDX-License-Identifier: MIT
#
# perf finds the same symbols of a JIT with the library as without it, also
# where the kernel names memory: in a virtual machine, whose kernel does.
# Run from the build directory.  perf.sh --guest is what runs in there.
#
# ANONNAME_LONG=1: node as well.

here=$(cd "$(dirname "$0")" && pwd)
build=$PWD
library=$build/.libs/libanonname.so
jit=$build/tests/live/jit
long=${ANONNAME_LONG-}
unset "${!ANONNAME_@}" LD_PRELOAD
export LC_ALL=C

skip() { echo "SKIP: $*"; exit 77; }

command -v perf >/dev/null || skip "no perf (Debian: linux-perf)"
if [ "${1-}" != --guest ]; then
	[ -x "$here/../vm/vm-run" ] || skip "no tests/vm/vm-run"
	"$here/../vm/vm-run" -k linux-6.1 -t 900 ${long:+-e ANONNAME_LONG=1} -- "$here/perf.sh" --guest
	status=$?
	[ $status != 125 ] || skip "the virtual machine could not be started"
	exit $status
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wrong=0

# record PID OUT: attaches perf for a second; symbols and where they are from, as often as seen.
record() {
	perf record -q -e cpu-clock -F 500 ${data:+-d} -o "$work/data" -p "$1" -- sleep "${seconds:-1}" >/dev/null 2>"$work/err" ||
		{ cat "$work/err"; skip "perf record does not work here"; }
	perf script -i "$work/data" -F ip,sym,dso 2>/dev/null >"$2"
}

# attach TITLE SYMBOLS PROGRAM...: the same symbols with and without the library.
attach() {
	local title=$1 pattern=$2 with pid
	local -a under=()
	shift 2
	for with in without with; do
		[ $with = without ] || under=(LD_PRELOAD="$library" ${sink:+ANONNAME_JIT_SINK="$sink"})
		env "${under[@]}" "$@" >"$work/said" 2>/dev/null &
		pid=$!
		for _ in $(seq 600); do grep -q ready "$work/said" && break; sleep 0.1; done
		[ -z "$late" ] || (sleep 0.5; kill -USR1 $pid) &
		record $pid "$work/$with"
		kill -KILL $pid
		wait $pid 2>/dev/null
		rm -f "/tmp/perf-$pid.map"
		grep -o "$pattern" "$work/$with" | sort -u >"$work/$with.symbols"
	done
	if [ -n "$sink" ]; then
		# The reason for all this; if perf learns to read names, the default can change.
		grep -q '\[anon:' "$work/with" || { echo "FAIL  $title: perf no longer takes a name for a file"; wrong=1; return; }
		echo "ok    $title"
		return
	fi
	if [ ! -s "$work/without.symbols" ]; then
		echo "FAIL  $title: no symbols without the library"
	elif ! diff "$work/without.symbols" "$work/with.symbols" || grep '\[anon:' "$work/with"; then
		echo "FAIL  $title: other symbols with the library than without"
	else
		echo "ok    $title: $(wc -l <"$work/with.symbols") symbols"
		return
	fi
	sort "$work/with" | uniq -c | sort -rn | head -n 20
	wrong=1
}

late= sink=
for how in mmap mprotect reservation; do
	attach "a JIT by $how" 'hot_[0-9]' "$jit" $how
	data=1 attach "a JIT by $how, with data addresses" 'hot_[0-9]' "$jit" $how
done
late=1 seconds=2 attach "a JIT that makes more code meanwhile" 'hot_[0-9]' "$jit" late
sink=kernel attach "a JIT that is named in the kernel" 'hot_[0-9]' "$jit" mmap
# V8 needs half a minute to start in there.
if [ -z "$long" ]; then
	echo "SKIP: node runs with ANONNAME_LONG=1 only"
elif command -v node >/dev/null; then
	cat >"$work/hot.js" <<-'JS'
		function hotSum(n) { let s = 0; for (let i = 0; i < n; i++) s += i % 7; return s; }
		function hotTwice(n) { let s = 0; for (let i = 0; i < n; i++) s ^= i * 3; return s; }
		let all = hotSum(10) + hotTwice(10);
		require('fs').writeSync(1, 'ready\n');
		for (;;) all += hotSum(1e4) + hotTwice(1e4);
	JS
	seconds=3 attach "node --perf-basic-prof" 'JS:[*^~]*hot[A-Za-z]*' node --perf-basic-prof --always-sparkplug "$work/hot.js"
else
	echo "SKIP: no node (Debian: nodejs)"
fi
exit $wrong
