#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Programs with a sanitizer's runtime in them start under the library and run as
# without it, with names and with names off, and the search for leaks finds the
# same ones. Run from the build directory.

set -u
library=$PWD/.libs/libanonname.so
source=$(dirname "${BASH_SOURCE[0]}")
out=$(mktemp -d "${TMPDIR:-/tmp}/sanitizers.XXXXXX")
trap 'rm -rf "$out"' EXIT
unset "${!ANONNAME_@}" LD_PRELOAD
passed=0 failed=0 skipped=0

# same TITLE COMPILER [VAR=VALUE...] FLAG...
same() {
	local title=$1 compiler=$2 vars=() status
	shift 2
	while [[ $1 == [A-Z]*=* ]]; do vars+=("$1"); shift; done
	if ! command -v "$compiler" >/dev/null ||
	   ! "$compiler" -g -O1 -pthread -D_GNU_SOURCE -I"$source/../../include" "$@" -o "$out/sanitized" \
		"$source/sanitized.c" 2>"$out/said"; then
		echo "SKIP  $title: $compiler cannot build it: $(grep -m1 -i error "$out/said")"
		skipped=$((skipped + 1))
		return
	fi
	if ! env "${vars[@]}" timeout 60 "$out/sanitized" >"$out/said" 2>&1; then
		echo "SKIP  $title: it does not run here without the library: $(grep -m1 . "$out/said")"
		skipped=$((skipped + 1))
		return
	fi
	env "${vars[@]}" LD_PRELOAD="$library" timeout 60 "$out/sanitized" >"$out/said" 2>&1 &&
		env "${vars[@]}" SANITIZED_OFF=1 ANONNAME_SINK=off LD_PRELOAD="$library" timeout 60 "$out/sanitized" >"$out/said" 2>&1
	status=$?
	if [ $status = 0 ] && [ "$(cat "$out/said")" = fine ]; then
		echo "ok    $title"
		passed=$((passed + 1))
	else
		echo "FAIL  $title (status $status)"
		sed 's/^/      /' "$out/said" | head -40
		failed=$((failed + 1))
	fi
}

# same_leaks COMPILER SANITIZER: what is lost in each way and reported without the library is with it. (AddressSanitizer
# keeps a thread's argument itself, and finds one more with us, whose argument it keeps.)
same_leaks() {
	local title="leaks, $1 -fsanitize=$2" wrong=0 way without with
	export ASAN_OPTIONS=verify_asan_link_order=0
	if ! command -v "$1" >/dev/null ||
	   ! "$1" -g -O1 -pthread -D_GNU_SOURCE -I"$source/../../include" "-fsanitize=$2" -o "$out/leaks" "$source/leaks.c" 2>"$out/said"; then
		echo "SKIP  $title: $1 cannot build it: $(grep -m1 -i error "$out/said")"
		skipped=$((skipped + 1))
		return
	fi
	for way in $("$out/leaks"); do
		without=$(timeout 60 "$out/leaks" "$way" 2>&1 | grep -o 'SUMMARY.* leaked.*')
		with=$(LD_PRELOAD="$library" timeout 60 "$out/leaks" "$way" 2>&1 | grep -o 'SUMMARY.* leaked.*')
		[ -n "$without" ] || [ "$2" = address ] || { echo "      $way: no leak is reported without the library"; wrong=1; }
		[ "$with" = "$without" ] || [ -z "$without" ] || { echo "      $way: ${with:-no leak is reported}, where it is $without"; wrong=1; }
	done
	if [ $wrong = 0 ]; then
		echo "ok    $title"
		passed=$((passed + 1))
	else
		echo "FAIL  $title"
		failed=$((failed + 1))
	fi
}

for compiler in clang gcc; do
	same_leaks $compiler leak
	same_leaks $compiler address
	for sanitizer in address thread undefined leak; do
		# ASan's library wants to be the first in the list, which no preloaded one leaves it: `anonname run` says so.
		same "$compiler -fsanitize=$sanitizer" $compiler ASAN_OPTIONS=verify_asan_link_order=0 -fsanitize=$sanitizer
	done
done
same "clang -fsanitize=memory" clang -fsanitize=memory
same "clang -fsanitize=hwaddress" clang -Wl,--no-relax -fsanitize=hwaddress
same "clang -fsanitize=safe-stack" clang -fsanitize=safe-stack
same "clang -fsanitize=scudo" clang -fsanitize=scudo
if command -v clang >/dev/null; then
	runtime=$(clang -print-file-name=libclang_rt.asan-"$(uname -m)".so)
	same "clang -fsanitize=address -shared-libasan" clang ASAN_OPTIONS=verify_asan_link_order=0 \
		-fsanitize=address -shared-libasan -Wl,-rpath,"$(dirname "$runtime")"
fi
same "gcc -fsanitize=address -static-libasan" gcc -fsanitize=address -static-libasan
same "gcc -fsanitize=thread -static-libtsan" gcc -fsanitize=thread -static-libtsan

echo "sanitizers: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] || exit 1
[ "$passed" -gt 0 ] || exit 77
