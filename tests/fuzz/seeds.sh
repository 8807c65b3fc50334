#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs each fuzzer over its seeds. With libFuzzer built in, for a moment longer.
set -e
: "${srcdir:=.}"
for fuzzer in elf registry recognise maps tree text snapshot heap core; do
	program=./tests/fuzz/fuzz_$fuzzer
	[ -x "$program" ] || continue
	if "$program" -help=1 2>/dev/null | grep -q '^Usage'; then
		work=$(mktemp -d)
		"$program" -runs="${FUZZ_RUNS:-20000}" "$work" "$srcdir/tests/fuzz/corpus/$fuzzer"
		rm -rf "$work"
	else
		"$program" "$srcdir/tests/fuzz/corpus/$fuzzer"/*
	fi
done
