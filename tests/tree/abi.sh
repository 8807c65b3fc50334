#!/bin/sh
# SPDX-License-Identifier: MIT
# A program that was linked with the last release runs with this library: its functions take
# and return the types that tests/tree/abi.xml recorded then. What is new is no difference;
# UPDATE=1 records it, at a release. usage: abi.sh   (in the build directory; srcdir: the source tree)
library=.libs/libanonname.so
record=${srcdir:-.}/tests/tree/abi.xml
ours=$(mktemp) || exit 1
trap 'rm -f "$ours"' EXIT
command -v abidiff >/dev/null || { echo "SKIP: no abidiff (apt-get install abigail-tools)"; exit 77; }
[ "$(uname -m)" = x86_64 ] || { echo "SKIP: the record is of x86-64"; exit 77; }
readelf -SW $library | grep -q '\.debug_info' || { echo "SKIP: the library has no debug information (CFLAGS without -g)"; exit 77; }
# What programs call; the functions of libc that it stands before are libc's to describe.
printf '[suppress_function]\nsymbol_name_not_regexp = ^anonname_\ndrop = yes\n[suppress_variable]\nname_regexp = .*\ndrop = yes\n' >"$ours"
if [ -n "${UPDATE:-}" ]; then
	abidw --suppressions "$ours" --headers-dir "${srcdir:-.}/include" --drop-private-types --no-corpus-path --no-comp-dir-path \
		--no-show-locs --type-id-style hash $library | sed "s, path='[^']*/src/, path='src/," >"$record"
	exit
fi
abidiff --suppressions "$ours" --headers-dir2 "${srcdir:-.}/include" --drop-private-types --no-added-syms "$record" $library >&2
