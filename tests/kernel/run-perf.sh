#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run-perf.sh [DIR]: does patches/perf do what it says?  perf is built from Debian's
# 6.1 source without the patch and with it (DIR has perf.plain and perf.patched
# from an earlier run).  In the VM both attach to a small JIT compiler, and to
# node, whose code has a name in the kernel: without the patch all symbols of
# that code are lost, with it they are there.  A quarter of an hour on two processors.
# abs_top_builddir: where this project is built, with tests/live/jit.
#
# Exit status: 0 as it should be, 1 not, 77 nothing could be run.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

# symbols PERF PATTERN: attaches PERF to the program that runs as $pid. Prints the symbols that PATTERN finds, or "none".
symbols() {
	"$1" record -q -e cpu-clock -F 500 -o /tmp/data -p "$pid" -- sleep 2 >/dev/null 2>/tmp/err || fail "perf record: $(cat /tmp/err)"
	"$1" script -i /tmp/data -F ip,sym,dso 2>/dev/null >/tmp/script
	[ -s /tmp/script ] || fail "perf saw nothing"
	grep -o "$2" /tmp/script | sort -u | tr '\n' ' ' | grep . || echo none
}

# attach TITLE PATTERN PROGRAM...: what both see of the program, its code named.
attach() {
	local title=$1 pattern=$2 plain patched
	shift 2
	LD_PRELOAD=$library ANONNAME_JIT_SINK=kernel "$@" >/tmp/said 2>/tmp/err &
	pid=$!
	until grep -q ready /tmp/said; do
		kill -0 $pid 2>/dev/null || fail "$title: it ended: $(cat /tmp/err)"
		sleep 0.1
	done
	grep -q 'r.xp.*\[anon:' /proc/$pid/maps || fail "$title: its code has no name"
	plain=$(symbols "$dir/perf.plain" "$pattern")
	patched=$(symbols "$dir/perf.patched" "$pattern")
	kill $pid
	wait $pid 2>/dev/null || :
	[ "$plain" = none ] || fail "$title: perf without the patch has symbols: $plain"
	[ "$patched" != none ] || fail "$title: perf with the patch has none"
	echo "ok    $title: without the patch no symbol, with it $(wc -w <<<"$patched"): $patched"
}

if [ "${1-}" = --guest ]; then
	fail() { echo "FAIL: $*"; exit 1; }
	dir=$2 library=$3 jit=$4
	attach "a JIT compiler" 'hot_[0-9]' "$jit" mmap
	command -v node >/dev/null || { echo "SKIP: no node (Debian: nodejs)"; exit; }
	cat >/tmp/hot.js <<-'JS'
		function hotSum(n) { let s = 0; for (let i = 0; i < n; i++) s += i % 7; return s; }
		let all = hotSum(10);
		require('fs').writeSync(1, 'ready\n');
		for (;;) all += hotSum(1e4);
	JS
	attach "node --perf-basic-prof" '/tmp/hot\.js:[0-9:]*' node --perf-basic-prof --always-sparkplug /tmp/hot.js
	exit
fi

. "$here/lib.sh"
: "${abs_top_builddir:=$PWD}"
library=$abs_top_builddir/.libs/libanonname.so jit=$abs_top_builddir/tests/live/jit
[ -f "$library" ] && [ -x "$jit" ] || fail "$abs_top_builddir has no library and tests/live/jit: run make all tests/live/jit there"

# made NAME: builds perf in $tree as it is.
made() {
	nice make -C "$tree/tools/perf" -j"${JOBS:-$(nproc)}" WERROR=0 $(printf 'NO_%s=1 ' $without) >"$build/log" 2>&1 ||
		{ tail -n 30 "$build/log" >&2; fail "$1 does not build"; }
	cp "$tree/tools/perf/perf" "$build/$1"
}
without="LIBPERL LIBPYTHON SLANG GTK2 LIBBPF LIBCRYPTO LIBNUMA LIBAUDIT LIBZSTD LIBCAP LIBDW DEMANGLE JVMTI LIBTRACEEVENT"

both() {
	local deb tree=$build/perf
	deb=$("$vm/fetch-source" linux-source-6.1 bookworm) || skip "the source of linux-6.1 cannot be had"
	rm -rf "$tree"
	mkdir -p "$tree"
	dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/src/linux-source-6.1.tar.xz |
		tar -xJ -C "$tree" --strip-components=1 --wildcards linux-source-6.1/{Makefile,arch,include,lib,scripts,tools}
	made perf.plain
	(cd "$tree" && apply "$top"/patches/perf/*.patch)
	made perf.patched
	rm -rf "$tree"
}

case ${1-} in
'') both ;;
*) cp "$1"/perf.{plain,patched} "$build" ;;
esac
in_vm linux-6.1 -t 1800 -- bash "$here/run-perf.sh" --guest "$build" "$library" "$jit"
