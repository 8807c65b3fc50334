#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Runs the live programs under the library: on this machine's kernel, whatever
# it can, and by live-vm.sh once more in a virtual machine whose kernel has
# names.  Run from the build directory.  Each program says what is wrong and
# exits 0, 1 or 77.  `live.sh WORD...` runs only the cases that contain a WORD.
#
# ANONNAME_LONG=1: the races run for a minute instead of ten seconds, and handlers
# come at 60 instructions of each hook instead of one.

set -u
build=$PWD
bin=$build/tests/live
library=$build/.libs/libanonname.so
out=$(mktemp -d "${TMPDIR:-/tmp}/live.XXXXXX")
trap 'rm -rf "$out"' EXIT
passed=0 failed=0 skipped=0
words=("$@")
export LC_ALL=C
long=${ANONNAME_LONG:-}
unset "${!ANONNAME_@}" LD_PRELOAD
seconds=10
[ -z "$long" ] || seconds=60
steps=1
[ -z "$long" ] || steps=60

[ -e "$library" ] || { echo "live.sh: no $library: run make first, and this from the build directory"; exit 99; }

wanted() {
	[ ${#words[@]} -gt 0 ] || return 0
	local w
	for w in "${words[@]}"; do [[ $1 == *"$w"* ]] && return 0; done
	return 1
}

# told TITLE STATUS: sums up one case, whose output is in $out/said.
told() {
	case $2 in
	0) echo "ok    $1"; sed 's/^/      /' "$out/said"; passed=$((passed + 1)) ;;
	77) echo "SKIP  $1: $(sed -n 's/^SKIP: //p' "$out/said" | head -n 1)"; skipped=$((skipped + 1)) ;;
	*) echo "FAIL  $1 (status $2)"; sed 's/^/      /' "$out/said" | head -n 120; failed=$((failed + 1)) ;;
	esac
}

# under TITLE [VAR=VALUE...] PROGRAM [ARG...]: the program under the library. BEHIND_US=FILE: that one is preloaded, too.
under() {
	local title=$1 vars=() preload=$library
	shift
	wanted "$title" || return 0
	while [[ $1 == [A-Z]*=* ]]; do
		if [[ $1 == BEHIND_US=* ]]; then preload+=" $bin/${1#*=}"; else vars+=("$1"); fi
		shift
	done
	local program=$1
	shift
	env "${vars[@]}" LD_PRELOAD="$preload" "$bin/$program" "$@" >"$out/said" 2>&1
	told "$title" $?
}

# served TITLE [VAR=VALUE...] PROGRAM [ARG...]: the same under the library that has a malloc.
served() {
	local library=$build/malloc/.libs/libanonname.so
	under "$@"
}

# plain TITLE [VAR=VALUE...] PROGRAM [ARG...]: without it; the program knows where it is.
plain() {
	local title=$1 vars=()
	shift
	wanted "$title" || return 0
	while [[ $1 == [A-Z]*=* ]]; do vars+=("$1"); shift; done
	local program=$1
	shift
	env "${vars[@]}" LIVE_PRELOAD="$library" "$bin/$program" "$@" >"$out/said" 2>&1
	told "$title" $?
}

# alike TITLE PROGRAM [ARG...]: prints the same with and without the library.
alike() {
	local title=$1 program=$2
	shift 2
	wanted "$title" || return 0
	"$bin/$program" "$@" >"$out/without" 2>&1
	local without=$?
	LD_PRELOAD="$library" "$bin/$program" "$@" >"$out/with" 2>&1
	local with=$?
	diff -u "$out/without" "$out/with" >"$out/said"
	local same=$?
	[ "$with$same" != 770 ] || { cp "$out/with" "$out/said"; same=77; }
	[ "$with" = "$without" ] || { echo "exit status $without without the library, $with with it" >>"$out/said"; same=1; }
	told "$title" $same
}

# counts TITLE [VAR=VALUE...] WHAT: of nothing that the program can count there is less with the library than without.
counts() {
	local title=$1 vars=()
	shift
	wanted "$title" || return 0
	while [[ $1 == [A-Z]*=* ]]; do vars+=("$1"); shift; done
	"$bin/count" "$@" >"$out/without" 2>&1
	local status=$?
	if [ $status = 0 ]; then
		env "${vars[@]}" LD_PRELOAD="$library" "$bin/count" "$@" >"$out/with" 2>&1
		status=$?
		paste -d ' ' "$out/without" "$out/with" >"$out/said"
		awk 'NF != 6 || $1 != $4 || $5 < $2 - $3 { bad = 1 } END { exit bad || !NR }' "$out/said" || status=1
	else
		cp "$out/without" "$out/said"
	fi
	told "$title" "$status"
}

# complains TITLE VAR=VALUE PROGRAM [ARG...]: one line on standard error, which names the variable and moves no terminal, and passes.
complains() {
	local title=$1 var=$2 program=$3
	shift 3
	wanted "$title" || return 0
	timeout 60 env "$var" LD_PRELOAD="$library" "$bin/$program" "$@" >"$out/said" 2>"$out/complaint"
	local status=$?
	if grep -q '[[:cntrl:]]' "$out/complaint"; then
		echo "a control character reached standard error" >>"$out/said"
		status=1
	fi
	if [ "$status" = 0 ] && { [ "$(wc -l <"$out/complaint")" != 1 ] ||
	   ! grep -q "^libanonname: .*${var%%=*}" "$out/complaint"; }; then
		echo "not one line about ${var%%=*}:" >>"$out/said"
		status=1
	fi
	[ "$status" = 0 ] || cat "$out/complaint" >>"$out/said"
	told "$title" "$status"
}

# missing TITLE WHY: what cannot be run here.
missing() {
	wanted "$1" || return 0
	echo "SKIP: $2" >"$out/said"
	told "$1" 77
}

. "$(dirname "${BASH_SOURCE[0]}")/cases"
. "$(dirname "${BASH_SOURCE[0]}")/cases-allocators"

echo "live: $passed passed, $failed failed, $skipped skipped, on $(uname -r)"
[ "$failed" -eq 0 ] || exit 1
[ "$passed" -gt 0 ] || exit 77
