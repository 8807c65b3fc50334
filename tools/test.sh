#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs what the tests need, builds out of tree, runs everything (unit, live,
# virtual machine, aarch64) and ends with a line of counts.
# usage: tools/test.sh   (BUILD=DIR: where to build, default build-test/)
set -u

cd "$(dirname "$0")/.."
source=$PWD
build=${BUILD:-$source/build-test}
passed=0 failed=0 skipped=0
failures=
details=

say() { printf '\n== %s\n' "$*"; }

# Whatever hangs is ended after so many seconds.
limit=1200

# What of a test failed, said again at the end: a log is long, and who reads the end of ours sees it there.
cases_of() {
	echo "--- $1"
	grep -E -A 5 '^(FAIL|NOT OK) ' "$1" | head -30
}

# One test: a name and a command. Exit 77 is a skip, and says so loudly.
check() {
	local name=$1 status=0 begin=$SECONDS log
	log=$build/log/${name//[^[:alnum:]]/-}.log
	shift
	say "$name"
	mkdir -p "$build/log"
	# Not by a pipe: what a test left running would hold it open, and us with it.
	timeout -k 30 "$limit" "$@" > >(exec tee "$log") 2>&1 || status=$?
	sleep 0.1
	case $status in
	0) passed=$((passed + 1)); echo "PASS: $name ($((SECONDS - begin)) s)"; return ;;
	77) skipped=$((skipped + 1)); echo "SKIP: $name"; return ;;
	124) echo "FAIL: $name (no end within $limit s)" ;;
	*) echo "FAIL: $name (status $status)" ;;
	esac
	failed=$((failed + 1)) failures+=" $name;"
	details+=$(cases_of "$log"; tail -n 5 "$log")$'\n'
}

# Without it nothing else can run.
must() {
	say "$1"
	shift
	"$@" && return
	echo "0 passed, 1 failed"
	exit 1
}

# The automake tests of a build directory, each counted for itself.
check_make() {
	local dir=$1 target=${2:-check} log result
	say "make $target in $dir"
	TEST_LIMIT=$limit make -C "$dir" -k -s -j"$(nproc)" "$target" 2>&1 | tee "$dir/check.log" |
		grep --line-buffered -E '^(PASS|FAIL|SKIP|ERROR|XPASS|XFAIL)'
	while read -r log; do
		result=$(sed -n 's/^:global-test-result: //p' "$log")
		case $result in
		PASS) passed=$((passed + 1)) ;;
		SKIP) skipped=$((skipped + 1)); tail -3 "${log%.trs}.log" ;;
		*)
			failed=$((failed + 1)); failures+=" ${log#"$dir"/};"
			details+=$(cases_of "${log%.trs}.log")$'\n'
			echo "--- ${log%.trs}.log"; tail -40 "${log%.trs}.log"
			;;
		esac
	done < <(find "$dir/tests" -name '*.trs')
	if [ -z "$(find "$dir/tests" -name '*.trs')" ]; then
		failed=$((failed + 1)); failures+=" make $target in $dir;"
		tail -40 "$dir/check.log"
	fi
}

configure_and_make() {
	local dir=$1
	shift
	rm -rf "$dir"
	mkdir -p "$dir"
	(cd "$dir" && "$source/configure" --quiet "$@" && make -s -j"$(nproc)") >"$dir.log" 2>&1 || { tail -40 "$dir.log"; return 1; }
}

lists=$(ls tools/packages.build tools/packages.test tests/*/packages)
must "packages" tools/install-packages $lists
must "autogen" sh -c './autogen.sh >/dev/null 2>&1'
must "build" configure_and_make "$build/gcc" --enable-werror
# Some minutes each where they are not in the cache; no test waits for them afterwards.
for kernel in linux-6.1 debian-6.1-plain debian-6.1 linux-5.10 linux-5.10-off debian-5.10-plain linux-5.10-debug; do
	limit=3600 check "kernel $kernel" tests/vm/build-kernel $kernel
done
check_make "$build/gcc"
must "build with sanitizers" configure_and_make "$build/sanitized" --enable-werror --enable-sanitize=address,undefined
check_make "$build/sanitized" check-unit
must "build for ThreadSanitizer" configure_and_make "$build/races" CC=gcc CFLAGS="-O1 -g -fsanitize=thread"
check "threads, under ThreadSanitizer" make -s -C "$build/races" check-races
must "build with clang" configure_and_make "$build/clang" --enable-werror CC=clang
check "models of what is shared without a lock" tests/model/run
check "real programs, names in the registry" tests/panel/panel -b "$build/gcc"
check "real programs, names in the kernel" tests/panel/panel --vm -b "$build/gcc"
check "figures on a kernel that names memory" env abs_top_builddir="$build/gcc" tests/replay/live-vm.sh
check "the test machine itself" tests/vm/vm-selftest.sh
check "the kernel series: conformance" env BUILD="$build/kernel" tests/kernel/run-conformance.sh
check "the module on Debian's own kernel: conformance" env BUILD="$build/kernel" tests/kernel/run-conformance.sh debian-6.1
check "the module on Debian's own kernel: loads, refusals, stress" env BUILD="$build/kernel" tests/kernel/run-module.sh
check "the kernel series: stress under its checkers" env BUILD="$build/kernel" tests/kernel/run-stress.sh 45
# The whole list of live programs runs on linux-6.1, in make check; here those that ask the kernel most.
for kernel in linux-5.10 linux-5.10-off debian-5.10-plain; do
	check "live programs on $kernel" env -C "$build/gcc" "$source/tests/live/live-vm.sh" -k $kernel \
		"errno is kept by every hook" "results and errors" "PR_SET_VMA" "mremap" "labels in children" "stacks through"
done
check "glibc's own names give way" env -C "$build/gcc" "$source/tests/live/decoration-vm.sh"
check "other projects' suites, a short choice" tests/suites/run -s -l "$build/gcc/.libs/libanonname.so"
check "aarch64 under qemu-user" env BUILD="$build/cross" tests/cross/run

say "result"
[ -z "$failures" ] || printf '%sfailed:%s\n' "$details" "$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
