# SPDX-License-Identifier: MIT
#
# What the scripts here and bench/kernel.sh share: where to build, how to
# compile, how to run in the VM.  Sourced, with $here set to the directory of
# the script that sources it.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
vm=$top/tests/vm

skip() { echo "SKIP: $*"; exit 77; }
fail() { echo "FAIL: $*"; exit 1; }

if [ -n "${BUILD-}" ]; then
	mkdir -p "$BUILD"
	build=$(cd "$BUILD" && pwd -P)
else
	build=$(mktemp -d)
	trap 'rm -rf "$build"' EXIT
fi

# compile NAME [OPTION...]: builds NAME.c as $build/NAME.
compile() {
	local name=$1
	shift
	${CC:-cc} -O2 -Wall -Wextra -pthread "$@" -o "$build/$name" "$here/$name.c" ||
		fail "$name.c does not compile"
}

# have_kernel KERNEL [-k]: a kernel that does not build is a failure, a machine that
# cannot run one or cannot get its source is a reason to skip. -k: its tree is kept.
have_kernel() {
	[ "$(uname -m)" = x86_64 ] || skip "the test kernels are for x86-64"
	command -v qemu-system-x86_64 >/dev/null || skip "there is no qemu-system-x86_64"
	"$vm/build-kernel" ${2-} "$1" >"$build/kernel.path" && return
	(. "$vm/kernels/$1" && "$vm/fetch-source" "$package" "$suite") >/dev/null 2>&1 ||
		skip "the source of $1 cannot be had"
	fail "$1 does not build"
}

# plain_tree SERIES DIR: a copy of the source without the series, configured for the VM. build-kernel says where it is.
plain_tree() {
	local tree
	have_kernel "$1-plain" -k
	tree=$("$vm/build-kernel" -k "$1-plain" 2>&1 >/dev/null | sed -n 's/.*the build tree is //p')
	[ -d "$tree" ] || fail "no tree of $1-plain"
	rm -rf "$2"
	cp -a "$tree" "$2"
}

# make_kernel WHAT TARGET LOG: in a tree, builds it as it is configured.
make_kernel() {
	make -s ARCH=x86_64 olddefconfig >/dev/null
	nice make -s -j"${JOBS:-$(nproc)}" ARCH=x86_64 "$2" >"$3" 2>&1 || {
		tail -n 30 "$3" >&2
		fail "$1 does not build"
	}
}

# apply PATCH...: in a tree.
apply() {
	local patch
	for patch; do patch -p1 -F0 -s <"$patch" || fail "$patch does not apply"; done
}

# in_vm KERNEL [OPTION...] -- COMMAND...: vm-run with $build in reach, writable.
in_vm() {
	local kernel=$1
	shift
	have_kernel "$kernel"
	"$vm/vm-run" -k "$kernel" -w "$build" "$@"
}
